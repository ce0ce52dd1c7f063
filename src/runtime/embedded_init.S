// The program skiff-init as bytes: skiff_init_program .. skiff_init_program_end.
        .section .rodata
        .global skiff_init_program
        .global skiff_init_program_end
        .balign 16
skiff_init_program:
        .incbin SKIFF_INIT_FILE
skiff_init_program_end:
        .section .note.GNU-stack, "", %progbits
