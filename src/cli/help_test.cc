#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli/command.h"

namespace firn::cli {
namespace {

TEST(Help, NamesEveryCommand) {
  for (const Command* command : commands()) {
    EXPECT_NE(global_help().find(std::string(command->name)), std::string::npos);
    EXPECT_TRUE(command_help(*command).starts_with("usage: firn " + std::string(command->name)));
  }
}

TEST(Help, TheManualPageIsTheProgramsOwn) {
  std::ifstream file(FIRN_SOURCE_DIR "/docs/man/firn.1");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), manual_page()) << "make it anew: firn --manual-page > docs/man/firn.1";
}

}  // namespace
}  // namespace firn::cli
