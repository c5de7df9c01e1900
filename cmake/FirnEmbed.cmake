# Carries files of the source tree in a program, as text.
#
#   firn_embed(OUT source NAMESPACE firn::qapi SYMBOL kRuntime FOLDER runtime FILES a.py b.py)
#
# OUT names the variable that receives a generated source. It defines, for each file,
# `extern const std::string_view kRuntime_a_py`: the file's name with '_' for what a C++ name can't have.
function(firn_embed)
  cmake_parse_arguments(EMBED "" "OUT;NAMESPACE;SYMBOL;FOLDER" "FILES" ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${EMBED_SYMBOL}.cc)
  set(script ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake)
  set(inputs ${EMBED_FILES})
  list(TRANSFORM inputs PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/${EMBED_FOLDER}/)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DOUT=${source} -DNAMESPACE=${EMBED_NAMESPACE} -DSYMBOL=${EMBED_SYMBOL}
      -DFOLDER=${CMAKE_CURRENT_SOURCE_DIR}/${EMBED_FOLDER} "-DFILES=${EMBED_FILES}" -P ${script}
    DEPENDS ${inputs} ${script}
    COMMENT "Embedding ${EMBED_FOLDER}"
    VERBATIM)
  set(${EMBED_OUT} ${source} PARENT_SCOPE)
endfunction()
