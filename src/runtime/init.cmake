# skiff-init: the static PID 1 of a node, built by itself and embedded into skiff_runtime.
# It links with the C compiler: it has no C++ library, and no sanitizer of the presets reaches it.
enable_language(ASM)
file(GLOB SKIFF_INIT_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/runtime/init/*.cpp)
add_executable(skiff-init ${SKIFF_INIT_SOURCES})
target_compile_options(skiff-init PRIVATE -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-sanitize=all -Os -g0
                       -ffunction-sections -fdata-sections)
target_link_options(skiff-init PRIVATE -fno-sanitize=all -static -s -Wl,--gc-sections)
set_target_properties(skiff-init PROPERTIES LINKER_LANGUAGE C)
# Linking C++ objects as C, CMake would add what the C++ compiler links by itself: its library, the sanitizers' too.
set(CMAKE_CXX_IMPLICIT_LINK_LIBRARIES "")

set(SKIFF_INIT_EMBEDDED ${CMAKE_CURRENT_SOURCE_DIR}/runtime/embedded_init.S)
set_source_files_properties(${SKIFF_INIT_EMBEDDED} PROPERTIES
                            COMPILE_DEFINITIONS SKIFF_INIT_FILE="$<TARGET_FILE:skiff-init>"
                            OBJECT_DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/skiff-init)
