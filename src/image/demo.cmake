# hitcounter: the static program of the demo image, built by itself and embedded into skiff_image.
enable_language(ASM)
file(GLOB SKIFF_DEMO_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/image/demo/*.c)
add_executable(hitcounter ${SKIFF_DEMO_SOURCES})
set_target_properties(hitcounter PROPERTIES C_STANDARD 17 C_EXTENSIONS ON)
# No debug information and no build path: the same sources make the same image.
target_compile_options(hitcounter PRIVATE -Os -g0 -ffunction-sections -fdata-sections)
target_link_options(hitcounter PRIVATE -static -s -Wl,--gc-sections)

set(SKIFF_DEMO_EMBEDDED ${CMAKE_CURRENT_SOURCE_DIR}/image/demo/embedded.S)
set_source_files_properties(${SKIFF_DEMO_EMBEDDED} PROPERTIES
                            COMPILE_DEFINITIONS SKIFF_DEMO_FILE="$<TARGET_FILE:hitcounter>"
                            OBJECT_DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/hitcounter)
