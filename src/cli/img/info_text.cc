#include "cli/img/info_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cmath>
#include <ctime>

#include "base/text_width.h"

namespace firn::cli::img {

namespace json = boost::json;

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

std::string date_text(int64_t seconds) {
  const std::time_t moment = seconds;
  std::tm local{};
  if (localtime_r(&moment, &local) == nullptr) return "?";
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

std::string clock_text(int64_t ns) {
  const int64_t seconds = ns / kNsPerSecond;
  return fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     ns / 1'000'000 % 1000);
}

std::string value_text(const block::FactValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  return base::printable(std::get<std::string>(value));
}

json::value value_json(const block::FactValue& value) {
  return std::visit([](const auto& plain) { return json::value(plain); }, value);
}

}  // namespace

std::string short_size(uint64_t bytes) {
  constexpr std::array kUnits = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  // 1000 of a unit are shown in the next one, so that three digits do.
  int exponent = 0;
  std::frexp(static_cast<double>(bytes) / (1000.0 / 1024.0), &exponent);
  const int unit = std::clamp((exponent - 1) / 10, 0, int{kUnits.size()} - 1);
  return fmt::format("{:.3g} {}B", std::ldexp(static_cast<double>(bytes), -10 * unit),
                     kUnits[static_cast<size_t>(unit)]);
}

std::string snapshot_table(const std::vector<block::InternalSnapshotFacts>& snapshots) {
  if (snapshots.empty()) return {};
  std::string text = fmt::format("Snapshot list:\n{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n", "ID",
                                 "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  for (const block::InternalSnapshotFacts& snapshot : snapshots) {
    text += fmt::format("{:<9} {:<16} {:>8}{:>20}{:>13}{:>11}\n", base::printable(snapshot.id),
                        base::printable(snapshot.name), short_size(snapshot.vm_state_bytes),
                        date_text(snapshot.date_s), clock_text(snapshot.vm_clock_ns),
                        snapshot.icount ? fmt::format("{}", *snapshot.icount) : "");
  }
  return text;
}

std::string info_text(const block::ImageFacts& facts) {
  const std::string disk_size =
      facts.actual_size_bytes ? short_size(*facts.actual_size_bytes) : "unavailable";
  std::string text =
      fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
                  base::printable(facts.filename), facts.format,
                  short_size(facts.virtual_size_bytes), facts.virtual_size_bytes, disk_size);
  if (facts.encrypted.value_or(false)) text += "encrypted: yes\n";
  if (facts.cluster_size_bytes)
    text += fmt::format("cluster_size: {}\n", *facts.cluster_size_bytes);
  if (facts.dirty.value_or(false)) text += "cleanly shut down: no\n";
  if (!facts.backing_filename.empty()) {
    text += fmt::format("backing file: {}", base::printable(facts.backing_filename));
    if (facts.backing_filename_full != facts.backing_filename) {
      text += fmt::format(" (actual path: {})", base::printable(facts.backing_filename_full));
    }
    text += '\n';
    if (!facts.backing_format.empty()) {
      text += fmt::format("backing file format: {}\n", base::printable(facts.backing_format));
    }
  }
  text += snapshot_table(facts.snapshots);
  if (facts.format_specific.empty()) return text;
  text += "Format specific information:\n";
  for (const auto& [name, value] : facts.format_specific) {
    std::string words = name;
    std::ranges::replace(words, '-', ' ');
    text += fmt::format("    {}: {}\n", words, value_text(value));
  }
  return text;
}

json::value info_json(const block::ImageFacts& facts) {
  json::object image{{"filename", facts.filename},
                     {"format", facts.format},
                     {"virtual-size", facts.virtual_size_bytes}};
  if (facts.actual_size_bytes) image["actual-size"] = *facts.actual_size_bytes;
  if (facts.cluster_size_bytes) image["cluster-size"] = *facts.cluster_size_bytes;
  if (facts.dirty) image["dirty-flag"] = *facts.dirty;
  if (facts.encrypted.value_or(false)) image["encrypted"] = true;
  if (facts.compressed.value_or(false)) image["compressed"] = true;
  if (!facts.backing_filename.empty()) {
    image["backing-filename"] = facts.backing_filename;
    image["full-backing-filename"] = facts.backing_filename_full;
    if (!facts.backing_format.empty()) image["backing-filename-format"] = facts.backing_format;
  }
  if (!facts.snapshots.empty()) {
    json::array snapshots;
    for (const block::InternalSnapshotFacts& snapshot : facts.snapshots) {
      json::object entry{{"id", snapshot.id},
                         {"name", snapshot.name},
                         {"vm-state-size", snapshot.vm_state_bytes},
                         {"date-sec", snapshot.date_s},
                         {"date-nsec", snapshot.date_ns},
                         {"vm-clock-sec", snapshot.vm_clock_ns / kNsPerSecond},
                         {"vm-clock-nsec", snapshot.vm_clock_ns % kNsPerSecond}};
      if (snapshot.icount) entry["icount"] = *snapshot.icount;
      snapshots.emplace_back(std::move(entry));
    }
    image["snapshots"] = std::move(snapshots);
  }
  if (!facts.format_specific.empty()) {
    json::object data;
    for (const auto& [name, value] : facts.format_specific) data[name] = value_json(value);
    image["format-specific"] = json::object{{"type", facts.format}, {"data", std::move(data)}};
  }
  return image;
}

}  // namespace firn::cli::img
