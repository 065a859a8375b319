// SPDX-License-Identifier: Apache-2.0
#include <rapidcheck.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "kube/documents.h"
#include "kube/json_parser.h"
#include "kube/yaml_parser.h"

namespace weir::kube {
namespace {

struct Parsed {
    std::vector<Tree> trees;
    std::vector<SyntaxError> errors;
};

Parsed parse(std::string_view text) {
    Parsed out;
    for_each_document(text, [&](tl::expected<Tree, SyntaxError> document) {
        if (document) {
            out.trees.push_back(std::move(*document));
        } else {
            out.errors.push_back(document.error());
        }
    });
    return out;
}

/// Back to JSON, types and all.
std::string dump(const Tree& tree, Tree::Index index = 0) {
    const auto& node = tree.node(index);
    const bool sequence = node.type == Tree::Type::kSequence;
    if (!sequence && node.type != Tree::Type::kMapping) {
        return node.type == Tree::Type::kString ? fmt::format("\"{}\"", tree.text(index))
                                                : std::string(tree.text(index));
    }
    std::string inner;
    for (auto i = node.first_child; i != Tree::kNone; i = tree.node(i).next) {
        if (!inner.empty()) inner += ",";
        if (!sequence) inner += fmt::format("{}:", tree.key(i));
        inner += dump(tree, i);
    }
    return sequence ? "[" + inner + "]" : "{" + inner + "}";
}

std::string dump_one(std::string_view text) {
    const Parsed parsed = parse(text);
    if (!parsed.errors.empty()) return "error: " + parsed.errors[0].message;
    return parsed.trees.empty() ? "nothing" : dump(parsed.trees[0]);
}

TEST(Documents, AreSplitAndKeepTheirLines) {
    const Parsed parsed = parse("a: 1\n---\n# only a comment\n---\nb: [\n--- # next\nc:\n  d: 2\n");
    ASSERT_EQ(parsed.trees.size(), 2U);
    EXPECT_EQ(dump(parsed.trees[0]), "{a:1}");
    EXPECT_EQ(dump(parsed.trees[1]), "{c:{d:2}}");
    EXPECT_EQ(parsed.trees[1].node(2).line, 8U);
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_EQ(parsed.errors[0].line, 5U) << "the last line of its document";
}

TEST(Documents, ThatHoldNothingAreLeftOut) {
    for (const char* text :
         {"", "\n\n", "---\n---\n", "# a\n# b", "%YAML 1.1\n---\n", "~\n", "--- \n...\n"}) {
        const Parsed parsed = parse(text);
        EXPECT_TRUE(parsed.trees.empty() && parsed.errors.empty()) << text;
    }
}

TEST(Documents, TakeAByteOrderMarkAndWindowsLines) {
    EXPECT_EQ(dump_one("\xef\xbb\xbf"
                       "a: 1\r\nb:\r\n- x\r\n"),
              "{a:1,b:[\"x\"]}");
    EXPECT_EQ(parse("a: 1\r\n---\r\nb: 2\r\n").trees.size(), 2U);
}

TEST(Documents, RefuseWhatIsNotUtf8) {
    EXPECT_EQ(dump_one("a: \xc3\x28"), "error: not UTF-8 text");
    EXPECT_EQ(dump_one("{\"a\": \"\xed\xa0\x80\"}"), "error: not UTF-8 text");
}

TEST(Documents, JsonValuesMayFollowEachOther) {
    const Parsed parsed = parse("{\"a\":1}\n{\"b\":2} {\"c\":3}");
    ASSERT_EQ(parsed.trees.size(), 3U);
    EXPECT_EQ(dump(parsed.trees[2]), "{c:3}");
    EXPECT_EQ(parsed.trees[1].node(0).line, 2U);
}

TEST(Documents, AFlowMappingThatIsNotJsonIsYaml) {
    EXPECT_EQ(dump_one("{a: 1, b: [x]}"), "{a:1,b:[\"x\"]}");
}

TEST(Json, ReadsEveryEscape) {
    EXPECT_EQ(dump_one(R"({"a":"\"\\\/\b\f\n\r\t"})"), "{a:\"\"\\/\b\f\n\r\t\"}");
    EXPECT_EQ(dump_one(R"({"a":"\u0041\u00e9\u20AC"})"), "{a:\"A\u00e9\u20ac\"}");
    EXPECT_EQ(dump_one(R"({"a":"\ud83d\ude00"})"), "{a:\"\U0001f600\"}");
    EXPECT_EQ(dump_one(R"({"a":"\ud83d!"})"), "{a:\"\ufffd!\"}");
    EXPECT_EQ(dump_one(R"({"a":"\ude00\ud83d\u0041"})"), "{a:\"\ufffd\ufffdA\"}");
}

TEST(Json, ReadsEveryType) {
    EXPECT_EQ(dump_one(R"({"a":[true,false,null,-0.5e+3,0,"on"],"b":{},"c":[]})"),
              "{a:[true,false,null,-0.5e+3,0,\"on\"],b:{},c:[]}");
}

TEST(Json, SaysWhatIsWrongAndWhere) {
    const std::pair<const char*, const char*> cases[] = {
        {"{\"a\":\n 01}", "a number with a leading zero"},
        {"{\"a\":\n 1.}", "'}' where a digit should be"},
        {"{\"a\":\n \"x}", "a string is not closed"},
        {"{\"a\":\n \"\\x\"}", "'x' where the rest of an escape should be"},
        {"{\"a\":\n \"\\u12g4\"}", "'1' where four hexadecimal digits should be"},
        {"{\"a\":\n 1", "text ends where ',' or '}' should be"},
    };
    for (const auto& [text, message] : cases) {
        const auto error = parse_json(text, 5, [](Tree) {});
        ASSERT_TRUE(error.has_value()) << text;
        EXPECT_EQ(error->message, message) << text;
        EXPECT_EQ(error->line, 6U) << text;
    }
}

TEST(Yaml, TypesAreThoseOfKubectl) {
    const std::pair<const char*, Tree::Type> cases[] = {
        {"", Tree::Type::kNull},
        {"~", Tree::Type::kNull},
        {"null", Tree::Type::kNull},
        {"true", Tree::Type::kBool},
        {"on", Tree::Type::kBool},
        {"No", Tree::Type::kBool},
        {"tRUE", Tree::Type::kString},
        {"80", Tree::Type::kNumber},
        {"-1", Tree::Type::kNumber},
        {"0x1F", Tree::Type::kNumber},
        {"1e3", Tree::Type::kNumber},
        {".5", Tree::Type::kNumber},
        {"1_000", Tree::Type::kNumber},
        {".inf", Tree::Type::kNumber},
        {"10.0.0.1", Tree::Type::kString},
        {"80/TCP", Tree::Type::kString},
        {"2001:db8::1", Tree::Type::kString},
        {"e3", Tree::Type::kString},
        {".", Tree::Type::kString},
        {"-", Tree::Type::kString},
        {"2024-01-01T00:00:00Z", Tree::Type::kString},
        {"1.2.3", Tree::Type::kString},
        {"v1", Tree::Type::kString},
        {"_1", Tree::Type::kString},
        {"1e", Tree::Type::kString},
    };
    for (const auto& [text, type] : cases)
        EXPECT_EQ(plain_type(text), type) << text;
    EXPECT_EQ(dump_one("a: \"80\"\nb: '80'\nc: !!str 80\nd: 80\n"),
              "{a:\"80\",b:\"80\",c:\"80\",d:80}");
}

TEST(Yaml, ExpandsAnchorsAndMerges) {
    EXPECT_EQ(dump_one("a: &x {k: 1}\nb: *x\n"), "{a:{k:1},b:{k:1}}");
    EXPECT_EQ(dump_one("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n"),
              "{a:{k:1,l:2},b:{<<:{k:1,l:2},k:3,l:2}}");
    EXPECT_EQ(dump_one("a: *none\n"), "error: alias *none has no anchor before it");
    EXPECT_EQ(dump_one("a: &x [*x]\n"), "error: alias *x has no anchor before it");
    EXPECT_EQ(dump_one("<<: 3\n"), "error: '<<' needs a mapping");
}

TEST(Yaml, BoundsWhatAliasesExpandTo) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        bomb += fmt::format(
            "a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i,
            i - 1);
    }
    EXPECT_EQ(dump_one(bomb), "error: aliases expand to over 100000 values");
}

TEST(Yaml, BoundsDepth) {
    const std::string message = "error: nested more than 64 levels deep";
    EXPECT_EQ(dump_one("a: " + std::string(100000, '[')), message);
    std::string block;
    for (size_t i = 0; i < 100; ++i)
        block += std::string(i, ' ') + "a:\n";
    EXPECT_EQ(dump_one(block), message);
    std::string json;
    for (int i = 0; i < 100000; ++i)
        json += "{\"a\":";
    EXPECT_EQ(dump_one(json), message);
}

TEST(Tree, TellsPaths) {
    const Parsed parsed = parse("spec:\n  ports:\n  - a: 1\n  - b: 2\n  labels: {app.io/x: y}\n");
    const Tree& tree = parsed.trees.at(0);
    const auto spec = tree.child(0, "spec");
    const auto ports = tree.child(spec, "ports");
    const auto second = tree.node(tree.node(ports).first_child).next;
    EXPECT_EQ(tree.path(tree.child(second, "b"), 0), "spec.ports[1].b");
    const auto labels = tree.child(spec, "labels");
    EXPECT_EQ(tree.path(tree.node(labels).first_child, 0), "spec.labels[app.io/x]");
    EXPECT_EQ(tree.path(0, 0), "");
}

TEST(Tree, FindsKeysThatStandTwice) {
    const Parsed parsed = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n");
    const Tree& tree = parsed.trees.at(0);
    ASSERT_EQ(tree.duplicates().size(), 2U);
    EXPECT_EQ(tree.path(tree.duplicates()[0], 0), "b.c");
    EXPECT_EQ(tree.node(tree.duplicates()[1]).line, 3U);
}

/// Random JSON-like values, written as JSON; both parsers must read the same from it.
std::string random_json(int depth) {
    const int pick = *rc::gen::inRange(0, depth > 0 ? 6 : 4);
    if (pick == 0) return std::to_string(*rc::gen::inRange(-1000, 1000));
    if (pick == 1) return *rc::gen::element<std::string>("true", "false", "null", "0.5", "1e9");
    if (pick < 4) {
        return "\"" +
               *rc::gen::container<std::string>(
                   rc::gen::elementOf(std::string("abcXYZ019 :-,#{}[]&*!|>'%@`~"))) +
               "\"";
    }
    const int count = *rc::gen::inRange(0, 4);
    std::string out;
    for (int i = 0; i < count; ++i) {
        if (i > 0) out += *rc::gen::element<std::string>(",", ", ", ",\n ");
        if (pick == 5) out += fmt::format("\"k{}\": ", i);
        out += random_json(depth - 1);
    }
    return pick == 5 ? "{" + out + "}" : "[" + out + "]";
}

RC_GTEST_PROP(Parsers, ReadTheSameFromJson, ()) {
    const std::string text = "{\"root\": " + random_json(4) + "}";
    std::string from_json;
    std::string from_yaml;
    const auto json_error = parse_json(text, 1, [&](const Tree& t) { from_json = dump(t); });
    const auto yaml_error = parse_yaml(text, 1, [&](const Tree& t) { from_yaml = dump(t); });
    RC_LOG() << text << "\n";
    RC_ASSERT(!json_error);
    RC_ASSERT(!yaml_error);
    RC_ASSERT(from_json == from_yaml);
}

constexpr char kNoiseBytes[] = "ab01 \t\n\r-:,[]{}\"'\\u&*!|>#%@~<.?\xc3\xa9\x01";
constexpr std::string_view kNoise(kNoiseBytes, sizeof kNoiseBytes);  // the NUL too

RC_GTEST_PROP(Parsers, NeverCrash, ()) {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string(kNoise)));
    const Parsed parsed = parse(text);
    for (const auto& error : parsed.errors)
        RC_ASSERT(!error.message.empty());
}

}  // namespace
}  // namespace weir::kube
