#include "daemon/redact.h"

#include <gtest/gtest.h>

#include <array>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "api/commands.h"

namespace firn::daemon {
namespace {

namespace json = boost::json;
using base::JsonValue;
using base::parse_json;
using base::print_json;

TEST(HideCredentials, LeavesPlainTextAlone) {
  for (const char* text :
       {"", "/images/a@b.qcow2", "disk", "nbd://host:10809/disk", "nbd+unix:///disk",
        "Could not open '/x': No such file or directory", "driver=qcow2,file=x"}) {
    EXPECT_EQ(hide_credentials(text), text);
  }
}

TEST(HideCredentials, HidesThemInUris) {
  EXPECT_EQ(hide_credentials("nbd://user:pw@host/x"), "nbd://***@host/x");
  EXPECT_EQ(hide_credentials("https://user:p@s/s'w\"o rd@host/x"), "https://***@host/x");
  EXPECT_EQ(hide_credentials("nbd:x, then //user:pw@host/y"), "nbd:x, then //***@host/y");
  EXPECT_EQ(hide_credentials("https://host/x?X-Signature=abc"), "https://host/x?***");
  EXPECT_EQ(hide_credentials("https://u:p@host/x?t=1#abc"), "https://***@host/x?***");
  EXPECT_EQ(hide_credentials("Could not open 'ssh://u:p@h/x': no route"),
            "Could not open 'ssh://***@h/x': no route");
}

TEST(HideCredentials, HidesValuesOfSecretNames) {
  EXPECT_EQ(hide_credentials("rbd:pool/image:id=admin:key=AQ==:mon=x"),
            "rbd:pool/image:id=admin:key=***");
  EXPECT_EQ(hide_credentials("iscsi,proxy-Password=x,y"), "iscsi,proxy-Password=***");
  EXPECT_EQ(hide_credentials("Password: x"), "Password:***");
  EXPECT_EQ(hide_credentials("JSN:{'password' : 'x'}"), "JSN:{'password' :***");
}

TEST(HideCredentials, ShowsOfJsonTextsWhatTheSchemaKnows) {
  EXPECT_EQ(hide_credentials(R"(json:{"driver": "file", "filename": "https://u:p@h/x"})"),
            R"(json:{"driver": "file", "filename": "https://***@h/x"})");
  EXPECT_EQ(hide_credentials(R"(json:{"driver": "file", "filename": "x", "pasword": "p"})"),
            "json:***");
  EXPECT_EQ(hide_credentials("json:{broken"), "json:***");
  EXPECT_EQ(hide_credentials("/d/JSON:{'name': 'p'}"), "/d/JSON:***");
  EXPECT_EQ(hide_credentials("Could not open 'json:{\"a\": \"p\"}': it is not there"),
            "Could not open 'json:***");
}

// A command with a secret, as generated code would have it.
JsonValue loggable(const JsonValue& arguments) {
  json::object object = arguments.get_object();
  for (const auto& member : object) {
    if (member.key() != "id" && member.key() != "data" && member.key() != "list") return {};
  }
  if (object.contains("data")) object["data"] = "***";
  if (object.contains("list")) object["list"] = json::array{"***", "b"};
  return object;
}

class RedactionTest : public testing::Test {
 public:
  Redaction of(const char* arguments) { return {command_, *parse_json(arguments)}; }
  api::CommandEntry command_{.name = "secret-add", .loggable = loggable};
};

TEST_F(RedactionTest, KeepsSecretsOutOfArgumentsAndErrors) {
  Redaction redaction = of(R"({"id": "sec0", "data": "letmein", "list": ["other", "b"]})");
  EXPECT_EQ(print_json(redaction.arguments()),
            R"({"id": "sec0", "data": "***", "list": ["***", "b"]})");
  EXPECT_EQ(redaction.error_text("letmein is no base64, nor is other"),
            "*** is no base64, nor is ***");
  // It could be quoted in part, or in another form.
  EXPECT_EQ(redaction.error_text("Parameter 'data' with 'letm' is bad"), "Parameter '***' is bad");
}

TEST_F(RedactionTest, ShowsNothingOfWhatIsNotUnderstood) {
  Redaction redaction = of(R"({"id": "sec0", "dta": "let'me'in"})");
  EXPECT_TRUE(redaction.arguments().is_null());
  EXPECT_EQ(redaction.error_text("Parameter 'let'me'in' is unexpected"),
            "Parameter '***' is unexpected");
  EXPECT_EQ(redaction.error_text("unbalanced 'letmein"), "unbalanced '***");
  EXPECT_EQ(redaction.error_text("Invalid \"letmein\""), "Invalid \"***\"");
}

TEST_F(RedactionTest, ShowsErrorsOfPlainArgumentsWhole) {
  Redaction redaction = of(R"({"id": "vda"})");
  EXPECT_EQ(redaction.error_text("Cannot find device='vda'"), "Cannot find device='vda'");
}

TEST_F(RedactionTest, KnowsTheSchemasCommands) {
  const api::CommandEntry* command = api::find_command("blockdev-snapshot-sync");
  ASSERT_NE(command, nullptr);
  Redaction good(*command, *parse_json("{'device': 'd', 'snapshot-file': 'nbd://u:p@h/x'}"));
  EXPECT_EQ(print_json(good.arguments()), R"({"device": "d", "snapshot-file": "nbd://***@h/x"})");
  // What is typed into a device may be a password.
  const api::CommandEntry* write = api::find_command("ringbuf-write");
  ASSERT_NE(write, nullptr);
  Redaction typed(*write, *parse_json("{'device': 'r', 'data': 'letmein'}"));
  EXPECT_EQ(print_json(typed.arguments()), R"({"device": "r", "data": "***"})");
  EXPECT_EQ(typed.error_text("letmein is too much"), "*** is too much");
  EXPECT_TRUE(
      Redaction(*command, *parse_json("{'device': 'd', 'file': 'x'}")).arguments().is_null());
}

}  // namespace
}  // namespace firn::daemon
