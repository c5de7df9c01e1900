#include "daemon/options.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace firn::daemon {
namespace {

std::string error_of(std::vector<std::string> arguments) {
  auto options = parse_options(arguments);
  return options ? "no error" : options.error().text();
}

TEST(Options, KeepTheirOrderAndTakeBothForms) {
  auto options = parse_options(std::vector<std::string>{
      "--pidfile", "p.pid", "--blockdev=file,node-name=a", "--export", "nbd,id=e", "--daemonize",
      "--chardev", "stdio,id=c", "--monitor", "c"});
  ASSERT_TRUE(options) << options.error().text();
  ASSERT_EQ(options->actions.size(), 4u);
  EXPECT_EQ(options->actions[0].kind, OptionKind::kBlockdev);
  EXPECT_EQ(options->actions[0].shown(), "--blockdev file,node-name=a");
  EXPECT_EQ(options->actions[1].shown(), "--export nbd,id=e");
  EXPECT_EQ(options->actions[2].kind, OptionKind::kChardev);
  EXPECT_EQ(options->actions[3].kind, OptionKind::kMonitor);
  EXPECT_TRUE(options->daemonize);
  // Daemonizing changes the directory.
  EXPECT_EQ(options->pidfile, std::filesystem::current_path() / "p.pid");
}

TEST(Options, NameWhatIsWrong) {
  EXPECT_EQ(error_of({"--bogus"}), "unrecognized option '--bogus'");
  EXPECT_EQ(error_of({"--blockdev"}), "option '--blockdev' requires an argument");
  EXPECT_EQ(error_of({"--daemonize=1"}), "option '--daemonize' doesn't allow an argument");
  EXPECT_EQ(error_of({"-x"}), "invalid option -- 'x'");
  EXPECT_EQ(error_of({"extra"}), "extra: Unexpected argument");
  EXPECT_EQ(error_of({"--compat", "x=y"}),
            "--compat x=y: expected overlay=plain or overlay=subclusters");
  EXPECT_EQ(error_of({"-T", "all"}), "--trace all: tracing is not supported by firn");
  EXPECT_EQ(error_of({"--state", ""}), "--state needs the name of a file");
  EXPECT_EQ(error_of({"--bog"}), "unrecognized option '--bog'");
  EXPECT_EQ(error_of({"--d"}),
            "option '--d' is ambiguous; possibilities: '--daemonize' '--device'");
}

TEST(Options, TakeUniqueBeginnings) {
  auto options = parse_options(std::vector<std::string>{"--nbd", "addr.type=unix"});
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->actions.at(0).kind, OptionKind::kNbdServer);
}

TEST(Options, PrintAndExit) {
  EXPECT_EQ(parse_options(std::vector<std::string>{"-h"})->print_and_exit, help_text());
  EXPECT_EQ(parse_options(std::vector<std::string>{"-V"})->print_and_exit, version_text());
  EXPECT_TRUE(version_text().starts_with("firnd version "));
  auto help = parse_options(std::vector<std::string>{"--object", "help"});
  EXPECT_NE(help->print_and_exit->find("iothread"), std::string::npos);
}

TEST(Options, CompatChoosesTheLayoutOfOverlays) {
  EXPECT_FALSE(parse_options(std::vector<std::string>{})->plain_overlays);
  EXPECT_TRUE(parse_options(std::vector<std::string>{"--compat", "overlay=plain"})->plain_overlays);
  EXPECT_FALSE(
      parse_options(std::vector<std::string>{"--compat=overlay=subclusters"})->plain_overlays);
}

TEST(Options, StandInHelpAndManual) {
  std::ifstream file(FIRN_SOURCE_DIR "/docs/man/firnd.1");
  std::stringstream manual;
  manual << file.rdbuf();
  ASSERT_FALSE(manual.str().empty());
  for (const std::string& name : option_names()) {
    EXPECT_NE(help_text().find(name), std::string::npos) << name;
    // mdoc: --name is written as "Fl -name".
    EXPECT_NE(manual.str().find("Fl " + name.substr(1)), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace firn::daemon
