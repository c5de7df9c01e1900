// What the compiler makes from a schema: one Backend for each kind of result.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "qapi/schema.h"

namespace firn::qapi {

// The files that a run makes, kept in memory until all of them exist.
class Output {
 public:
  void add(std::string name, std::string text);

  // Writes the files into `folder`; it and the folders in the names are made if need be. A file
  // that has this content already is not touched, so that what depends on it is not built again.
  base::Result<> write(const std::string& folder) const;

  const std::map<std::string, std::string>& files() const { return files_; }

 private:
  std::map<std::string, std::string> files_;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view summary() const = 0;
  virtual void emit(const Schema& schema, Output& output) const = 0;
};

// All of them, in the order of `qapic --help`.
std::span<const Backend* const> backends();

}  // namespace firn::qapi
