/* The hitcounter program as bytes of this library. */
    .section .rodata
    .global skiff_demo_program
    .global skiff_demo_program_end
    .balign 16
skiff_demo_program:
    .incbin SKIFF_DEMO_FILE
skiff_demo_program_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
