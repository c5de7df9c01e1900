#include "block/graph.h"

#include "block/lab.h"

namespace firn::block {
namespace {

using base::ErrorKind;

class GraphTest : public Lab {
 protected:
  std::string remove_error(const std::string& name) {
    auto removed = run(graph_->remove_node(name));
    return removed ? "no error" : removed.error().text();
  }
};

TEST_F(GraphTest, AddsFindsAndRemoves) {
  make_file("a.raw", 4096);
  Node* a = add(spec("a", "raw", path("a.raw")));
  EXPECT_EQ(graph_->find_node("a"), a);
  EXPECT_EQ(graph_->nodes().size(), 2u);  // with its file
  EXPECT_EQ(remove_error("a"), "no error");
  EXPECT_TRUE(graph_->nodes().empty());
  EXPECT_EQ(remove_error("a"), "Failed to find node with node-name='a'");
}

TEST_F(GraphTest, RefusesBadNamesAndTakenOnes) {
  make_file("a.raw", 4096);
  add(spec("a", "raw", path("a.raw")));
  EXPECT_EQ(add_error(spec("a", "raw", path("a.raw"))), "Duplicate nodes with node-name='a'");
  EXPECT_EQ(add_error(spec("bad name", "raw", path("a.raw"))), "Invalid node-name: 'bad name'");
  EXPECT_EQ(add_error(spec("1a", "raw", path("a.raw"))), "Invalid node-name: '1a'");
  EXPECT_EQ(add_error(spec(std::string(32, 'a'), "raw", path("a.raw"))), "Node name too long");
  EXPECT_EQ(add_error(spec("b", "bogus", path("a.raw"))), "Unknown driver 'bogus'");
  EXPECT_EQ(add_error(spec("b", "raw", path("none"))),
            "Could not open '" + path("none") + "': No such file or directory");
  NodeSpec reference;
  reference.driver = "raw";
  reference.file.emplace(std::string("nope"));
  EXPECT_EQ(add_error(std::move(reference)), "Cannot find device='nope' nor node-name='nope'");
  NodeSpec fileless;
  fileless.driver = "raw";
  EXPECT_EQ(add_error(std::move(fileless)), "Parameter 'file' is missing");
  EXPECT_EQ(graph_->nodes().size(), 2u);
}

TEST_F(GraphTest, RestoresNodesByTheirMadeUpNames) {
  make_file("a.raw", 4096);
  NodeSpec file = std::move(*file_spec(path("a.raw")));
  file.node_name = "#block123456";
  file.has_made_up_name = true;
  file.definition = "{}";
  Node* restored = *run(graph_->restore_node(std::move(file), graph_->default_io_loop(), false));
  EXPECT_EQ(restored->name(), "#block123456");
  EXPECT_EQ(restored->definition(), "{}");
  EXPECT_FALSE(graph_->is_added(*restored));
  EXPECT_EQ(make_node_name(), "#block123457");  // not that one again

  NodeSpec top;
  top.driver = "raw";
  top.node_name = "a";
  top.file.emplace(std::string("#block123456"));
  Node* a = *run(graph_->restore_node(std::move(top), graph_->default_io_loop(), true));
  EXPECT_TRUE(graph_->is_added(*a));

  NodeSpec again = std::move(*file_spec(path("a.raw")));
  again.node_name = "#block123456";
  again.has_made_up_name = true;
  EXPECT_FALSE(run(graph_->restore_node(std::move(again), graph_->default_io_loop(), false)));
  EXPECT_EQ(remove_error("a"), "no error");  // with its file, which nobody added
  EXPECT_TRUE(graph_->nodes().empty());
}

TEST_F(GraphTest, AnInnerNameIsCheckedToo) {
  make_file("a.raw", 4096);
  NodeSpec outer = spec("a", "raw", path("a.raw"));
  std::get<std::unique_ptr<NodeSpec>>(*outer.file)->node_name = "a";
  EXPECT_EQ(add_error(std::move(outer)), "Duplicate nodes with node-name='a'");
  EXPECT_TRUE(graph_->nodes().empty());
}

TEST_F(GraphTest, KeepsWhatIsInUse) {
  make_image("base", 1 << 20);
  NodeSpec file = std::move(*file_spec(path("base")));
  file.node_name = "f";
  add(std::move(file));
  NodeSpec format;
  format.driver = "fake";
  format.node_name = "a";
  format.file.emplace(std::string("f"));
  Node* a = add(std::move(format));
  EXPECT_EQ(remove_error("f"), "Block device f is in use");
  Root root("the test");
  ASSERT_TRUE(attach(root, a, kWrite));
  EXPECT_EQ(remove_error("a"), "Node a is in use");
  detach(root);
  EXPECT_EQ(remove_error("a"), "no error");
  EXPECT_NE(graph_->find_node("f"), nullptr);  // it was added by itself
  EXPECT_EQ(remove_error("f"), "no error");
}

TEST_F(GraphTest, OpensTheBackingChainOfAHeader) {
  make_image("base", 1 << 20);
  make_image("mid", 1 << 20, path("base"));
  make_image("top", 1 << 20, path("mid"));
  Node* top = add(spec("top", "fake", path("top")));
  EXPECT_EQ(graph_->nodes().size(), 6u);
  Node* mid = top->children().backing.child();
  ASSERT_NE(mid, nullptr);
  EXPECT_TRUE(mid->read_only());
  EXPECT_EQ(remove_error(mid->name()),
            "Node '" + mid->name() + "' is busy: node is used as backing hd of 'top'");
  EXPECT_EQ(remove_error("top"), "no error");
  EXPECT_TRUE(graph_->nodes().empty());
}

TEST_F(GraphTest, AChainThatLeadsBackToItselfIsRefused) {
  make_image("one", 1 << 20, path("two"));
  make_image("two", 1 << 20, path("one"));
  const std::string text = add_error(spec("one", "fake", path("one")));
  EXPECT_NE(text.find("is an overlay of itself"), std::string::npos) << text;
  EXPECT_TRUE(graph_->nodes().empty());
}

TEST_F(GraphTest, AMissingBackingImageIsNamed) {
  make_image("top", 1 << 20, path("gone"));
  EXPECT_EQ(add_error(spec("top", "fake", path("top"))),
            "Could not open backing file: Could not open '" + path("gone") +
                "': No such file or directory");
}

TEST_F(GraphTest, ConflictsNameBothUsers) {
  make_image("base", 1 << 20);
  NodeSpec file = std::move(*file_spec(path("base")));
  file.node_name = "f";
  Node* f = add(std::move(file));
  const auto format = [](const char* name) {
    NodeSpec spec;
    spec.driver = "fake";
    spec.node_name = name;
    spec.file.emplace(std::string("f"));
    return spec;
  };
  add(format("a"));
  EXPECT_EQ(add_error(format("b")),
            "Permission conflict on node 'f': permissions 'write, resize' are both required by "
            "node 'a' (uses node 'f' as 'file' child) and unshared by node 'b' (uses node 'f' as "
            "'file' child).");
  Root root("an unnamed block device");
  const auto writer = attach(root, f, kWrite);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().text(),
            "Permission conflict on node 'f': permissions 'write' are both required by an unnamed "
            "block device (uses node 'f' as 'root' child) and unshared by node 'a' (uses node 'f' "
            "as 'file' child).");
  EXPECT_FALSE(root.edge());
  // What failed has changed nothing: a reader still finds its place.
  ASSERT_TRUE(attach(root, f, kRead));
  detach(root);
}

TEST_F(GraphTest, ReadOnlyNodesHaveNoWriters) {
  make_file("a.raw", 4096);
  Node* a = add(spec("a", "raw", path("a.raw"), {.read_only = true}));
  Root root("the test");
  const auto attached = attach(root, a, kWrite);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().text(), "Block node is read-only");
  EXPECT_EQ(attached.error().kind(), ErrorKind::kReadOnly);
}

TEST_F(GraphTest, OptionsThatContradictEachOtherAreRefused) {
  make_file("a.raw", 4096);
  EXPECT_EQ(add_error(spec("a", "raw", path("a.raw"), {.force_share = true})),
            "force-share=on can only be used with read-only images");
  EXPECT_EQ(add_error(spec("a", "raw", path("a.raw"), {.detect_zeroes = DetectZeroes::kUnmap})),
            "setting detect-zeroes to unmap is not allowed without setting discard operation to "
            "unmap");
}

TEST_F(GraphTest, Devices) {
  make_file("a.raw", 4096);
  Node* a = add(spec("a", "raw", path("a.raw")));
  ASSERT_TRUE(run(graph_->add_device("vda", "a")));
  EXPECT_EQ(run(graph_->find_head("vda", "")).value(), a);
  EXPECT_EQ(run(graph_->find_head("", "a")).value(), a);
  const auto missing = run(graph_->find_head("vdb", "b"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text(), "Cannot find device='vdb' nor node-name='b'");
  EXPECT_EQ(missing.error().kind(), ErrorKind::kDeviceNotFound);
  EXPECT_EQ(missing.error().data().at(0).second, "vdb");
  EXPECT_EQ(run(graph_->add_device("vda", "a")).error().text(),
            "Device with id 'vda' already exists");
  EXPECT_EQ(run(graph_->add_device("a", "a")).error().text(),
            "Device name 'a' conflicts with an existing node name");
  EXPECT_EQ(add_error(spec("vda", "raw", path("a.raw"))),
            "node-name=vda is conflicting with a device id");
  EXPECT_EQ(remove_error("a"), "Node a is in use");
  EXPECT_TRUE(run(graph_->remove_device("vda")));
  EXPECT_EQ(remove_error("a"), "no error");
}

TEST_F(GraphTest, ANodeMovesToAnotherLoopWithItsLocks) {
  make_file("a.raw", 4096, 'x');
  Node* a = add(spec("a", "raw", path("a.raw")));
  ASSERT_TRUE(run(graph_->add_device("vda", "a")));
  async::Loop* loop = graph_->add_io_loop("io1").value();
  ASSERT_TRUE(run(graph_->move_to_loop(*a, *loop)));
  EXPECT_EQ(&a->home(), loop);
  EXPECT_EQ(graph_->find_device("vda")->home, loop);
  EXPECT_EQ(run(graph_->remove_io_loop("io1")).error().text(),
            "object 'io1' is in use, can not be deleted");
  Root root("the test");
  ASSERT_TRUE(attach(root, a, kWrite));
  EXPECT_EQ(run(graph_->move_to_loop(*a, graph_->default_io_loop())).error().kind(),
            ErrorKind::kBusy);
  detach(root);
  ASSERT_TRUE(run(graph_->move_to_loop(*a, graph_->default_io_loop())));
  ASSERT_TRUE(attach(root, a, kRead));
  EXPECT_EQ(read(root, 0, 4), "xxxx");
  detach(root);
  EXPECT_TRUE(run(graph_->remove_io_loop("io1")));
}

TEST_F(GraphTest, ResizesLiveAndTellsTheUsers) {
  make_file("a.raw", 4096, 'x');
  Node* a = add(spec("a", "raw", path("a.raw")));
  Root root("the test");
  int told = 0;
  root.set_on_resize([&] { ++told; });
  ASSERT_TRUE(attach(root, a, kWrite, kWrite));  // does not share resizing
  ASSERT_TRUE(run(graph_->resize("", "a", 8192)));
  EXPECT_EQ(told, 1);
  EXPECT_EQ(root.size_bytes(), 8192u);
  EXPECT_EQ(read(root, 4096, 4096), std::string(4096, '\0'));
  const auto shrunk = run(graph_->resize("", "a", 1024));
  ASSERT_FALSE(shrunk);
  EXPECT_EQ(shrunk.error().text(),
            "Node 'a' has 8192 bytes: with 1024, the data beyond would be lost");
  EXPECT_EQ(shrunk.error().hint(), "to give it up, say so: 'shrink': true");
  EXPECT_EQ(root.size_bytes(), 8192u);
  ASSERT_TRUE(run(graph_->resize("", "a", 1024, true)));
  EXPECT_EQ(told, 2);
  EXPECT_EQ(root.size_bytes(), 1024u);
  EXPECT_EQ(write(root, 512, 1024, 'w').error().kind(), base::ErrorKind::kNoSpace);
  EXPECT_EQ(read(root, 0, 1024), std::string(1024, 'x'));
  detach(root);
}

TEST_F(GraphTest, ResizingTheFileBelowAFormatIsRefused) {
  make_image("base", 1 << 20);
  NodeSpec file = std::move(*file_spec(path("base")));
  file.node_name = "f";
  add(std::move(file));
  NodeSpec format;
  format.driver = "fake";
  format.node_name = "a";
  format.file.emplace(std::string("f"));
  add(std::move(format));
  const auto resized = run(graph_->resize("", "f", 4096));
  ASSERT_FALSE(resized);
  EXPECT_EQ(resized.error().text(),
            "Permission conflict on node 'f': permissions 'resize' are both required by "
            "block_resize (uses node 'f' as 'root' child) and unshared by node 'a' (uses node 'f' "
            "as 'file' child).");
}

TEST(Identifier, HasItsForm) {
  EXPECT_TRUE(is_identifier("a"));
  EXPECT_TRUE(is_identifier("A-1._z"));
  EXPECT_FALSE(is_identifier(""));
  EXPECT_FALSE(is_identifier("#block0"));
  EXPECT_FALSE(is_identifier("1a"));
  EXPECT_FALSE(is_identifier("a b"));
}

}  // namespace
}  // namespace firn::block
