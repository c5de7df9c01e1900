// From names to what they refer to, and everything that can only be judged then: names given twice,
// unknown types, members that collide, unions whose branches fit their tag, and the documentation
// of members.
//
// It goes through the declarations in the order in which QEMU's generator does: each one in turn,
// and before it ends, the bases, branches and arguments that it is made of.
#pragma once

#include "qapi/declaration.h"

namespace firn::qapi {

// The built-in types, in the order of QEMU's manual.
inline constexpr std::string_view kBuiltinTypes[] = {
    "str",    "number", "int",    "int8", "int16", "int32", "int64", "uint8",
    "uint16", "uint32", "uint64", "size", "bool",  "any",   "null"};
// An enumeration that is built in: the types of JSON values.
inline constexpr std::string_view kQType = "QType";
inline constexpr std::string_view kQTypeValues[] = {"none",  "qnull", "qnum", "qstring",
                                                    "qdict", "qlist", "qbool"};

// Sets TypeUse::declaration and ::builtin everywhere.
void resolve(const ParsedSchema& schema, Declarations& declarations, Dialect dialect,
             Diagnostics& diagnostics);

}  // namespace firn::qapi
