// A small server's introspection, for tests.
#pragma once

#include <boost/json/value.hpp>

#include "base/check.h"
#include "base/json.h"
#include "cli/live_schema.h"

namespace firn::cli {

inline LiveSchema test_schema() {
  constexpr std::string_view kEntries = R"([
    {'name': 'str', 'meta-type': 'builtin', 'json-type': 'string'},
    {'name': 'int', 'meta-type': 'builtin', 'json-type': 'int'},
    {'name': 'bool', 'meta-type': 'builtin', 'json-type': 'boolean'},
    {'name': 'number', 'meta-type': 'builtin', 'json-type': 'number'},
    {'name': 'null', 'meta-type': 'builtin', 'json-type': 'null'},
    {'name': 'any', 'meta-type': 'builtin', 'json-type': 'value'},
    {'name': '[str]', 'meta-type': 'array', 'element-type': 'str'},
    {'name': '0', 'meta-type': 'object', 'members': []},
    {'name': 'block_resize', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '0'},
    {'name': '1', 'meta-type': 'object', 'members': [
      {'name': 'device', 'type': 'str', 'default': null},
      {'name': 'node-name', 'type': 'str', 'default': null},
      {'name': 'size', 'type': 'int'}]},
    {'name': 'blockdev-add', 'meta-type': 'command', 'arg-type': '2', 'ret-type': '0'},
    {'name': '2', 'meta-type': 'object', 'tag': 'driver', 'members': [
      {'name': 'driver', 'type': '3'}, {'name': 'node-name', 'type': 'str', 'default': null}],
      'variants': [{'case': 'file', 'type': '4'}, {'case': 'qcow2', 'type': '5'},
                   {'case': 'null-co', 'type': '0'}]},
    {'name': '3', 'meta-type': 'enum', 'values': ['file', 'qcow2', 'null-co'], 'members': [
      {'name': 'file'}, {'name': 'qcow2'}, {'name': 'null-co', 'features': ['deprecated']}]},
    {'name': '4', 'meta-type': 'object', 'members': [
      {'name': 'filename', 'type': 'str'}, {'name': 'read-only', 'type': 'bool', 'default': null}]},
    {'name': '5', 'meta-type': 'object', 'members': [{'name': 'file', 'type': '6'}]},
    {'name': '6', 'meta-type': 'alternate', 'members': [{'type': '2'}, {'type': 'str'}]},
    {'name': 'snapshot', 'meta-type': 'command', 'arg-type': '7', 'ret-type': 'str',
     'features': ['firn'], 'allow-oob': true},
    {'name': '7', 'meta-type': 'object', 'members': [
      {'name': 'device', 'type': 'str'}, {'name': 'snapshot-file', 'type': 'str'},
      {'name': 'mode', 'type': '8', 'default': null}, {'name': 'tags', 'type': '[str]', 'default': null},
      {'name': 'opts', 'type': '9', 'default': null}, {'name': 'nodes', 'type': '[9]', 'default': null},
      {'name': 'force', 'type': 'bool', 'default': null}, {'name': 'rate', 'type': 'number', 'default': null},
      {'name': 'extra', 'type': 'any', 'default': null}, {'name': 'backing', 'type': '10', 'default': null}]},
    {'name': '8', 'meta-type': 'enum', 'values': ['existing', 'absolute-paths']},
    {'name': '9', 'meta-type': 'object', 'members': [
      {'name': 'format', 'type': 'str'}, {'name': 'size', 'type': 'int', 'default': null},
      {'name': 'lazy', 'type': 'bool', 'default': null}]},
    {'name': '[9]', 'meta-type': 'array', 'element-type': '9'},
    {'name': '10', 'meta-type': 'alternate', 'members': [{'type': 'str'}, {'type': 'null'}]},
    {'name': 'query-block', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '[str]'},
    {'name': 'block-export-del', 'meta-type': 'command', 'arg-type': '11', 'ret-type': '0'},
    {'name': '11', 'meta-type': 'object', 'members': [{'name': 'id', 'type': 'str'}]},
    {'name': 'device_add', 'meta-type': 'command', 'arg-type': '12', 'ret-type': '0'},
    {'name': '12', 'meta-type': 'object', 'members': [{'name': 'driver', 'type': 'str'}]},
    {'name': 'JOB_DONE', 'meta-type': 'event', 'arg-type': '11'}])";
  auto schema = LiveSchema::read(*base::parse_json(kEntries));
  CHECK(schema.has_value());
  return *std::move(schema);
}

}  // namespace firn::cli
