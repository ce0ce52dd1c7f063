# apigen is built first; it turns src/api/schema/*.api into <build>/gen/api/gen/*.{hpp,cpp}.
file(GLOB API_SCHEMAS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/api/schema/*.api)
file(GLOB APIGEN_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/api/apigen/*.cpp)
add_executable(apigen ${APIGEN_SOURCES})

set(API_GEN_DIR ${CMAKE_BINARY_DIR}/gen/api/gen)
set(API_GENERATED ${API_GEN_DIR}/kinds.cpp)
foreach(schema ${API_SCHEMAS})
  get_filename_component(stem ${schema} NAME_WE)
  list(APPEND API_GENERATED ${API_GEN_DIR}/${stem}.cpp)
  list(APPEND API_GENERATED_HEADERS ${API_GEN_DIR}/${stem}.hpp)
endforeach()
add_custom_command(
  OUTPUT ${API_GEN_DIR}/stamp
  BYPRODUCTS ${API_GENERATED} ${API_GENERATED_HEADERS}
  COMMAND apigen ${API_GEN_DIR} ${API_SCHEMAS}
  COMMAND ${CMAKE_COMMAND} -E touch ${API_GEN_DIR}/stamp
  DEPENDS apigen ${API_SCHEMAS}
  COMMENT "apigen: API types and descriptors")
add_custom_target(api_generated DEPENDS ${API_GEN_DIR}/stamp)

skiff_room(api ROOMS base DEPENDS skiff::nlohmann SOURCES ${API_GENERATED})
add_dependencies(skiff_api api_generated)
target_include_directories(skiff_api PUBLIC ${CMAKE_BINARY_DIR}/gen)
# Generated code is data and memberwise copies: optimising it further only costs build time.
set_source_files_properties(${API_GENERATED} PROPERTIES COMPILE_OPTIONS "-O1;-g0")
