// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "cli/app.h"
#include "cli/run/cni.h"
#include "cli/run/spec.h"
#include "support/process.h"

namespace weir::cli {
namespace {

namespace json = boost::json;

Invocation parse(const std::string& line) {
    Invocation invocation;
    const auto app = make_app(invocation);
    app->parse(line);
    return invocation;
}

TEST(CommandLine, NotTurnsTheNextFilterAroundAndOnlyThat) {
    const Invocation flows =
        parse("flows --pod web-1 --not --port 80 --port 443 --not -n kube-system --since 5m");
    const QueryParams expected = {{"pod", "web-1"},
                                  {"not-port", "80"},
                                  {"port", "443"},
                                  {"not-namespace", "kube-system"},
                                  {"since", "5m"}};
    EXPECT_EQ(std::set(flows.query.begin(), flows.query.end()),
              std::set(expected.begin(), expected.end()));
    EXPECT_THROW(parse("flows --port 80 --not"), CLI::ParseError);
}

TEST(CommandLine, WhatIsWrongIsRefused) {
    for (const auto* line : {"pod", "frobnicate", "pod list -o xml", "pod list -n a -A", "pod get",
                             "completion csh", "run --name x", "pod list --colour"}) {
        EXPECT_THROW(parse(line), CLI::ParseError) << line;
    }
}

TEST(CommandLine, FlagsWinOverTheEnvironment) {
    for (const char* name : {"WEIR_SOCKET", "WEIR_BPFFS", "WEIR_RUN_DIR"})
        ::setenv(name, "/environment", 1);
    for (const auto* command :
         {"pod list", "service get x", "backend list", "conntrack list", "drops", "cleanup"}) {
        const Invocation flags =
            parse(std::string(command) + " --socket /s --bpffs /b --run-dir /r");
        EXPECT_EQ(flags.socket, "/s") << command;
        EXPECT_EQ(flags.bpffs, "/b") << command;
        EXPECT_EQ(flags.run_dir, "/r") << command;
        const Invocation bare = parse(command);
        EXPECT_EQ(bare.socket, "/environment") << command;
        EXPECT_EQ(bare.bpffs, "/environment") << command;
        EXPECT_EQ(bare.run_dir, "/environment") << command;
    }
    for (const char* name : {"WEIR_SOCKET", "WEIR_BPFFS", "WEIR_RUN_DIR"})
        ::unsetenv(name);
    EXPECT_EQ(parse("status --socket /s").socket, "/s");
}

TEST(CommandLine, TheCommandOfRunIsNotParsed) {
    const Invocation run = parse("run --name web-1 -l a=b -l c=d -- sh -c true --name other -q");
    EXPECT_EQ(run.run.name, "web-1");
    EXPECT_EQ(run.run.labels, (std::vector<std::string>{"a=b", "c=d"}));
    EXPECT_EQ(run.run.command,
              (std::vector<std::string>{"sh", "-c", "true", "--name", "other", "-q"}));
    EXPECT_FALSE(run.run.quiet);
}

RunOptions options() {
    RunOptions o;
    o.name = "web-1";
    o.command = {"true"};
    return o;
}

TEST(RunSpec, ReadsEveryForm) {
    RunOptions o = options();
    o.labels = {"app=web", "empty=", "url=a=b"};
    o.ports = {"http=8080/TCP", "53/UDP", "9090"};
    o.host_ports = {"8080:80", "[::1]:53:5353/UDP", "127.0.0.1:81:8081/TCP"};
    o.ready_when = "http:8080/ready?x=1";
    o.drain = "1500ms";
    const auto spec = run::parse_spec(o);
    ASSERT_TRUE(spec) << spec.error().message();
    EXPECT_EQ(spec->labels.at("url"), "a=b");
    EXPECT_EQ(spec->ports.at(0).name, "http");
    EXPECT_EQ(spec->ports.at(1).protocol, model::Protocol::kUdp);
    EXPECT_EQ(spec->ports.at(2).number, 9090);
    EXPECT_EQ(run::port_mappings(spec->host_ports),
              R"([{"hostPort":8080,"containerPort":80,"protocol":"TCP"},)"
              R"({"hostPort":53,"containerPort":5353,"protocol":"UDP","hostIP":"::1"},)"
              R"({"hostPort":81,"containerPort":8081,"protocol":"TCP","hostIP":"127.0.0.1"}])");
    EXPECT_EQ(spec->readiness.path, "/ready?x=1");
    EXPECT_EQ(spec->drain, std::chrono::milliseconds(1500));
    EXPECT_EQ(spec->hostname, "web-1");
}

TEST(RunSpec, ErrorsNameTheOption) {
    const auto message = [](const std::function<void(RunOptions&)>& change) {
        RunOptions o = options();
        change(o);
        const auto spec = run::parse_spec(o);
        return spec ? "accepted" : spec.error().message();
    };
    EXPECT_TRUE(message([](auto& o) { o.name = "Web_1"; }).starts_with("--name \"Web_1\""));
    EXPECT_TRUE(message([](auto& o) { o.name = "../x"; }).starts_with("--name"));
    EXPECT_TRUE(message([](auto& o) { o.ns = "a.b"; }).starts_with("-n \"a.b\""));
    EXPECT_TRUE(message([](auto& o) { o.labels = {"x"}; }).starts_with("-l x"));
    EXPECT_TRUE(message([](auto& o) { o.ports = {"x=0"}; }).starts_with("--port"));
    EXPECT_TRUE(message([](auto& o) { o.ports = {"80/ICMP"}; }).starts_with("--port"));
    for (const char* bad : {"80", "x:80", "80:0", "1.2.3:80:80", "80:80/icmp"}) {
        EXPECT_TRUE(message([bad](auto& o) { o.host_ports = {bad}; }).starts_with("--host-port"))
            << bad;
    }
    EXPECT_TRUE(message([](auto& o) { o.ready_when = "tcp:http"; }).starts_with("--ready-when"));
    EXPECT_TRUE(message([](auto& o) { o.ready_when = "http:80/a b"; }).starts_with("--ready-when"));
    EXPECT_TRUE(message([](auto& o) { o.drain = "soon"; }).starts_with("--drain"));
}

TEST(Output, TablesAreAlignedAndSafe) {
    Table table({{"NAME"}, {"COUNT", false, true}, {"MORE", true}});
    table.add({"web", "7", "x"});
    table.add({"longer-name", "1234", ""});
    table.add({"evil\x1b[31m\n", "ä", "y"});
    EXPECT_EQ(table.text({}),
              "NAME          COUNT\n"
              "web               7\n"
              "longer-name    1234\n"
              "evil?[31m?        ä\n");
    EXPECT_EQ(table.text({"wide", true}),
              "web              7   x\n"
              "longer-name   1234   -\n"
              "evil?[31m?       ä   y\n");
}

TEST(Output, YamlQuotesWhatCouldBeMisread) {
    const json::value value = json::parse(
        R"({"a": "true", "b": "1.0", "c": "plain-text", "d": "", "e": [], "f": {}, "g": null,
            "h": ["x", {"k": 1, "l": ["m"]}], "on": "a: b", "i": "10.0.0.1", "j": [[1, 2], []]})");
    EXPECT_EQ(to_yaml(value),
              "a: \"true\"\nb: \"1.0\"\nc: plain-text\nd: \"\"\ne: []\nf: {}\ng: null\n"
              "h:\n- x\n- k: 1\n  l:\n  - m\n\"on\": \"a: b\"\ni: \"10.0.0.1\"\n"
              "j:\n- - 1\n  - 2\n- []\n");
    EXPECT_EQ(to_yaml(json::array()), "[]\n");
}

TEST(Output, TimesAndSizes) {
    EXPECT_EQ(duration_text(5), "5s");
    EXPECT_EQ(duration_text(65), "1m5s");
    EXPECT_EQ(duration_text(3600), "1h");
    EXPECT_EQ(duration_text(12 * 60 + 30), "12m");
    EXPECT_EQ(duration_text(3 * 86400 + 7200), "3d2h");
    EXPECT_EQ(duration_text(-1), "0s");
    EXPECT_EQ(age_text("2026-01-31T12:00:00Z", 1769860830), "30s");
    EXPECT_EQ(age_text("never", 0), "");
    EXPECT_EQ(bytes_text(512), "512 B");
    EXPECT_EQ(bytes_text(3 << 20), "3.0 MiB");
}

/// Runs the generated bash script in a real bash and asks it, as the shell would.
std::string complete(const std::string& words) {
    test::TempDir dir;
    Invocation invocation;
    const auto script = completion_script(*make_app(invocation), "bash");
    const auto path = dir.path() / "script";
    EXPECT_TRUE(write_file_atomic(path, *script));
    test::Process bash({"bash", "-c",
                        fmt::format("source {}; COMP_WORDS=({}\"\"); "
                                    "COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _weir; "
                                    "echo \"${{COMPREPLY[@]}}\"",
                                    path.string(), words + " ")});
    EXPECT_EQ(bash.wait(), 0) << bash.err();
    std::string out = bash.out();
    out.pop_back();
    return out;
}

TEST(Completion, BashKnowsTheTree) {
    EXPECT_TRUE(
        complete("weir").starts_with("status pod service backend ipam policy conntrack flows run "
                                     "preflight drops config version completion cleanup "
                                     "await-cleanup "
                                     "--help"));
    EXPECT_TRUE(complete("weir pod").starts_with("list get"));
    EXPECT_NE(complete("weir flows").find("--verdict"), std::string::npos);
    EXPECT_EQ(complete("weir flows --verdict"), "FORWARDED DROPPED");
    EXPECT_EQ(complete("weir pod list -o"), "table wide json yaml name");
    EXPECT_TRUE(complete("weir completion").ends_with("bash zsh fish"));
}

TEST(Completion, OtherShells) {
    Invocation invocation;
    const auto app = make_app(invocation);
    EXPECT_TRUE(completion_script(*app, "zsh")->starts_with("#compdef weir\n"));
    const std::string fish = *completion_script(*app, "fish");
    EXPECT_NE(fish.find("complete -c weir -n '__fish_use_subcommand' -a pod -d "),
              std::string::npos);
    EXPECT_NE(fish.find("complete -c weir -n '__fish_seen_subcommand_from pod; and "
                        "__fish_seen_subcommand_from list' -l output -d "),
              std::string::npos);
    EXPECT_FALSE(completion_script(*app, "csh"));
}

}  // namespace
}  // namespace weir::cli
