// The C++ back ends, and what they share. Generated code lives in namespace firn::api and stands on
// src/api.
#pragma once

#include <string>
#include <vector>

#include "qapi/backend.h"
#include "qapi/schema.h"

namespace firn::qapi {

// types.h types.cc: enumerations, structs, unions, alternates.
const Backend* types_backend();
// codec.h, codec_MODULE.cc: decoding and encoding.
const Backend* codec_backend();
// commands.h commands.cc, commands_MODULE.cc: handler interfaces and the dispatch table.
const Backend* commands_backend();
// events.h events.cc: events and their encoding.
const Backend* events_backend();
// introspection.h introspection.cc: what query-qmp-schema answers.
const Backend* introspection_backend();
// introspection.json: the same as JSON.
const Backend* introspection_json_backend();
// released.json: the same with the width of integers, which `qapic compat` compares too.
const Backend* released_backend();
// NAME-qmp-ref.html, index.md and MODULE.md, NAME-qmp-ref.7: the reference manual.
const Backend* html_backend();
const Backend* markdown_backend();
const Backend* man_backend();
// NAME.schema.json: the messages in JSON Schema.
const Backend* json_schema_backend();

// "// Made by qapic from firn.json. ..." and the opening of the namespace, with these includes.
std::string file_head(const Schema& schema, const std::vector<std::string>& includes, bool header);
std::string file_tail();

// Lines of `text` as comments, wrapped to 100 columns, each behind `indent` blanks.
std::string comment(std::string_view text, size_t indent);

// "{{"a", "b"}}" for a table of features, or the name of the empty one.
std::string feature_list(const Features& features);

}  // namespace firn::qapi
