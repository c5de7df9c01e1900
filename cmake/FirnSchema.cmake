# Compiles a schema with qapic at build time.
#
#   firn_schema(OUT sources FOLDER ${CMAKE_BINARY_DIR}/generated/api
#               TOP schema/firn.json MODULES control.json block-core.json)
#
# TOP is the file that includes the others, MODULES are those, in TOP's folder; a new file has to be
# named here, since what is generated has one .cc for each. OUT names the variable that receives the
# generated sources. Files that do not change are not written, so what stands on them is not built
# again. DEFINES are the symbols of `if` conditions, DIALECT is today's (the default) or 2011.
function(firn_schema)
  cmake_parse_arguments(SCHEMA "" "OUT;FOLDER;TOP;DIALECT" "MODULES;DEFINES" ${ARGN})
  if(NOT SCHEMA_DIALECT)
    set(SCHEMA_DIALECT today)
  endif()
  get_filename_component(top ${SCHEMA_TOP} ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
  get_filename_component(folder ${top} DIRECTORY)
  set(inputs ${top})
  set(names commands.h codec.h events.h introspection.h types.h
    commands.cc events.cc introspection.cc types.cc)
  get_filename_component(top_name ${top} NAME)
  foreach(file IN LISTS top_name SCHEMA_MODULES)
    if(NOT file STREQUAL top_name)
      list(APPEND inputs ${folder}/${file})
    endif()
    get_filename_component(module ${file} NAME_WE)
    string(REPLACE "-" "_" module ${module})
    list(APPEND names codec_${module}.cc commands_${module}.cc)
  endforeach()
  list(TRANSFORM names PREPEND ${SCHEMA_FOLDER}/ OUTPUT_VARIABLE outputs)
  set(defines ${SCHEMA_DEFINES})
  list(TRANSFORM defines PREPEND -D)
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND qapic emit types,codec,commands,events,introspection ${top} -o ${SCHEMA_FOLDER} --dialect ${SCHEMA_DIALECT} ${defines}
    DEPENDS qapic ${inputs}
    COMMENT "Compiling the schema ${SCHEMA_TOP}"
    VERBATIM)
  set(${SCHEMA_OUT} ${outputs} PARENT_SCOPE)
endfunction()
