// SPDX-License-Identifier: Apache-2.0
#include "netns/load.h"

#include <csignal>

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace weir::test {
namespace {

namespace json = boost::json;

std::vector<std::string> argv_of(const std::vector<std::string>& targets,
                                 const std::vector<std::string>& more) {
    std::vector<std::string> argv = {WEIR_SHOP, "load", "--workers", "2", "--pause-ms", "4"};
    argv.insert(argv.end(), more.begin(), more.end());
    for (const auto& target : targets)
        argv.push_back("http://" + target);
    return argv;
}

}  // namespace

Load::Load(std::string name, const Place& place, const std::vector<std::string>& targets,
           const std::vector<std::string>& more)
    : name_(std::move(name)), process_(argv_of(targets, more), {.place = place, .log = {}}) {}

LoadReport Load::finish(uint64_t at_least) {
    LoadReport report;
    process_.stop(SIGTERM);
    std::error_code error;
    const auto said = json::parse(process_.out(), error);
    if (error) {
        ADD_FAILURE() << name_ << ": " << process_.out() << process_.err();
        return report;
    }
    report.ok = said.at("ok").to_number<uint64_t>();
    report.failed = said.at("failed").to_number<uint64_t>();
    report.errors = json::serialize(said.at("errors"));
    for (const auto& [pod, count] : said.at("pods").as_object())
        report.pods.insert(pod);
    EXPECT_EQ(report.failed, 0U) << name_ << ": " << report.errors;
    EXPECT_GE(report.ok, at_least) << name_;
    return report;
}

}  // namespace weir::test
