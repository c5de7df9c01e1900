// fault_store FOLDER MOUNTPOINT: serves a FaultStore by FUSE until its standard input ends.
//
// Lines on standard input, each answered by "ok ..." or "error TEXT":
//   rule OPERATION [name=PATTERN] [delay_ms=N] [error=EIO] [count=N] [hang]
//        operations: read write fsync fsyncdir create open unlink rename truncate fallocate any
//   clear          no rules any more; what hangs goes on
//   hanging        how many calls hang
//   sync           everything to the disk
//   cut [SEED]     the power goes: the answer comes, and the program ends at once. Unmount, and
//   start
//                  it again on the same FOLDER to see what is left.
// "ready" is written once the mount is there.
#define FUSE_USE_VERSION 312

#include <fuse.h>
#include <fuse_lowlevel.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "tests/tools/fault_store.h"

namespace {

using firn::tests::FaultStore;

FaultStore& store() { return *static_cast<FaultStore*>(fuse_get_context()->private_data); }

// Of the one folder; empty for the folder itself.
std::string name_of(const char* path) { return path + 1; }

bool is_plain(const std::string& name) { return !name.empty() && !name.contains('/'); }

int negative_errno(const firn::base::Error& error) { return -error.errno_value(); }

void* start(struct fuse_conn_info*, struct fuse_config* config) {
  config->use_ino = 1;
  config->attr_timeout = 0;
  config->entry_timeout = 0;
  config->negative_timeout = 0;
  config->hard_remove = 1;  // unlinked files live on by their handles
  config->nullpath_ok = 1;
  return fuse_get_context()->private_data;
}

int get_attributes(const char* path, struct stat* stat, struct fuse_file_info* info) {
  if (info != nullptr) return store().stat(info->fh, *stat);
  const std::string name = name_of(path);
  if (name.empty()) {
    stat->st_mode = S_IFDIR | 0755;
    stat->st_nlink = 2;
    return 0;
  }
  const auto id = store().find(name);
  return id ? store().stat(*id, *stat) : negative_errno(id.error());
}

int list(const char*, void* buffer, fuse_fill_dir_t fill, off_t, struct fuse_file_info*,
         enum fuse_readdir_flags) {
  constexpr auto kPlain = static_cast<enum fuse_fill_dir_flags>(0);
  for (const char* name : {".", ".."}) fill(buffer, name, nullptr, 0, kPlain);
  for (const std::string& name : store().names()) fill(buffer, name.c_str(), nullptr, 0, kPlain);
  return 0;
}

int create_file(const char* path, mode_t mode, struct fuse_file_info* info) {
  const std::string name = name_of(path);
  if (!is_plain(name)) return -EPERM;
  if (int error = store().obey("create", 0, name)) return error;
  const auto id = store().create(name, mode, (info->flags & O_EXCL) != 0);
  if (!id) return negative_errno(id.error());
  info->fh = *id;
  store().hold(*id);
  return 0;
}

int open_file(const char* path, struct fuse_file_info* info) {
  const std::string name = name_of(path);
  if (int error = store().obey("open", 0, name)) return error;
  const auto id = store().find(name);
  if (!id) return negative_errno(id.error());
  info->fh = *id;
  store().hold(*id);
  return (info->flags & O_TRUNC) != 0 ? store().truncate(*id, 0) : 0;
}

int release_file(const char*, struct fuse_file_info* info) {
  store().release(info->fh);
  return 0;
}

int read_file(const char*, char* data, size_t bytes, off_t offset, struct fuse_file_info* info) {
  if (int error = store().obey("read", info->fh, "")) return error;
  return static_cast<int>(store().read(info->fh, data, bytes, offset));
}

int write_file(const char*, const char* data, size_t bytes, off_t offset,
               struct fuse_file_info* info) {
  if (int error = store().obey("write", info->fh, "")) return error;
  return static_cast<int>(store().write(info->fh, data, bytes, offset));
}

int sync_file(const char*, int, struct fuse_file_info* info) {
  if (int error = store().obey("fsync", info->fh, "")) return error;
  return store().fsync(info->fh);
}

int sync_folder(const char*, int, struct fuse_file_info*) {
  if (int error = store().obey("fsyncdir", 0, "/")) return error;
  return store().sync_names();
}

int truncate_file(const char* path, off_t size, struct fuse_file_info* info) {
  uint64_t number = info != nullptr ? info->fh : 0;
  if (info == nullptr) {
    const auto id = store().find(name_of(path));
    if (!id) return negative_errno(id.error());
    number = *id;
  }
  if (int error = store().obey("truncate", number, "")) return error;
  return store().truncate(number, size);
}

int allocate_file(const char*, int mode, off_t offset, off_t bytes, struct fuse_file_info* info) {
  if (int error = store().obey("fallocate", info->fh, "")) return error;
  return store().allocate(info->fh, mode, offset, bytes);
}

off_t seek_file(const char*, off_t offset, int whence, struct fuse_file_info* info) {
  return store().seek(info->fh, offset, whence);
}

int unlink_file(const char* path) {
  if (int error = store().obey("unlink", 0, name_of(path))) return error;
  return store().unlink(name_of(path));
}

int rename_file(const char* from, const char* to, unsigned flags) {
  if (!is_plain(name_of(to))) return -EPERM;
  if (int error = store().obey("rename", 0, name_of(from))) return error;
  return store().rename(name_of(from), name_of(to), (flags & 1u) == 0);  // RENAME_NOREPLACE
}

int set_times(const char* path, const struct timespec times[2], struct fuse_file_info* info) {
  if (info != nullptr) return store().set_times(info->fh, times);
  const auto id = store().find(name_of(path));
  return id ? store().set_times(*id, times) : negative_errno(id.error());
}

int accept_mode(const char*, mode_t, struct fuse_file_info*) { return 0; }
int accept_owner(const char*, uid_t, gid_t, struct fuse_file_info*) { return 0; }

fuse_operations make_operations() {
  fuse_operations operations = {};
  operations.init = start;
  operations.getattr = get_attributes;
  operations.readdir = list;
  operations.create = create_file;
  operations.open = open_file;
  operations.release = release_file;
  operations.read = read_file;
  operations.write = write_file;
  operations.fsync = sync_file;
  operations.fsyncdir = sync_folder;
  operations.truncate = truncate_file;
  operations.fallocate = allocate_file;
  operations.lseek = seek_file;
  operations.unlink = unlink_file;
  operations.rename = rename_file;
  operations.utimens = set_times;
  operations.chmod = accept_mode;
  operations.chown = accept_owner;
  return operations;
}

int errno_of(const std::string& name) {
  for (const int error : {EIO, ENOSPC, EROFS, EACCES, EDQUOT, ETIMEDOUT}) {
    if (name == strerrorname_np(error)) return error;
  }
  return 0;
}

std::string carry_out(FaultStore& own, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "clear") return own.clear_rules(), "ok";
  if (command == "hanging") return "ok " + std::to_string(own.hanging());
  if (command == "sync") return own.sync_all(), "ok";
  if (command == "cut") {
    uint64_t seed = 0;
    words >> seed;
    own.cut(seed);
    return "ok";
  }
  if (command != "rule") return "error unknown command '" + command + "'";
  FaultStore::Rule rule;
  words >> rule.operation;
  for (std::string word; words >> word;) {
    const std::string key = word.substr(0, word.find('='));
    const std::string value = word.substr(std::min(word.size(), key.size() + 1));
    if (key == "hang") {
      rule.hang = true;
    } else if (key == "name") {
      rule.name_pattern = value;
    } else if (key == "delay_ms") {
      rule.delay_ms = strtoull(value.c_str(), nullptr, 10);
    } else if (key == "count") {
      rule.count = strtoull(value.c_str(), nullptr, 10);
    } else if (key == "error" && errno_of(value) != 0) {
      rule.error = errno_of(value);
    } else {
      return "error what is '" + word + "'?";
    }
  }
  own.add_rule(std::move(rule));
  return "ok";
}

// Ends with the program.
void take_commands(FaultStore& own, struct fuse_session* session, const std::string& mountpoint) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::string answer = carry_out(own, line);
    std::cout << answer << std::endl;
    if (line.starts_with("cut")) _exit(0);
  }
  own.clear_rules();
  fuse_session_exit(session);
  // The loop's threads wait for a request: one more lets them see that it is over.
  struct stat ignored = {};
  (void)::stat(mountpoint.c_str(), &ignored);
}

int serve(const std::string& folder, const std::string& mountpoint) {
  auto own = FaultStore::open(folder);
  if (!own) {
    fprintf(stderr, "fault_store: %s\n", own.error().text().c_str());
    return 1;
  }
  std::string program = "fault_store";
  char* argv[] = {program.data()};
  struct fuse_args arguments = FUSE_ARGS_INIT(1, argv);
  const fuse_operations operations = make_operations();
  struct fuse* fuse = fuse_new(&arguments, &operations, sizeof(operations), own->get());
  if (fuse == nullptr || fuse_mount(fuse, mountpoint.c_str()) != 0) return 1;
  std::cout << "ready" << std::endl;
  std::thread commands(take_commands, std::ref(**own), fuse_get_session(fuse), mountpoint);
  struct fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, 64);
  fuse_loop_cfg_set_idle_threads(config, 16);
  (void)fuse_loop_mt(fuse, config);
  fuse_loop_cfg_destroy(config);
  fuse_unmount(fuse);
  commands.detach();  // it may wait for a line that never comes
  (*own)->sync_all();
  fflush(nullptr);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: fault_store FOLDER MOUNTPOINT\n");
    return 2;
  }
  return serve(argv[1], argv[2]);
}
