// What a character device leads to, from the command line's text and from the schema's types.
// Source: the -chardev options of QEMU 7.2 (qemu(1); chardev/char*.c, the `parse` functions).
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/types.h"
#include "base/result.h"
#include "chardev/chardev.h"
#include "daemon/sockets.h"

namespace firn::daemon {

struct ChardevOption {
  std::string id;
  chardev::Spec spec;
};

// "socket,id=c,path=/run/x,server=on,wait=off". The short forms of old (server, nowait) are read
// too, with a warning in the log. Options that QEMU has for other kinds are ignored, as there; what
// the kind has and we have not is refused by its name. `fds` finds the socket that `fd` names.
base::Result<ChardevOption> parse_chardev(std::string_view text, const DescriptorLookup& fds);

// chardev-add's arguments out of the same text; a socket's descriptor stays a name.
base::Result<boost::json::object> chardev_arguments(std::string_view text);

// What to print where `text` asks for help ("help", "socket,help"); empty if it does not.
std::string chardev_help(std::string_view text);

// Every member is honoured or refused by its name.
base::Result<chardev::Spec> chardev_spec(const api::ChardevBackend& backend,
                                         const DescriptorLookup& fds);

// The kinds that can be made.
const std::vector<std::string>& chardev_kinds();

}  // namespace firn::daemon
