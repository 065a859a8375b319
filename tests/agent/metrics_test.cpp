// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

Snapshot snapshot() {
    Snapshot s;
    s.drops[WEIR_DROP_CT_FULL][WEIR_TO_POD] = {.packets = 3, .bytes = 180};
    s.counters[WEIR_COUNTER_EVENTS_LOST] = 7;
    s.tables = {{"weir_ct4", 10, 1000, 4096}};
    s.pools = {{"IPv4", 5, 1, 253}};
    s.problems = {{"Service", 2}};
    s.api_refused = {{"malformed", 4}};
    auto& services = s.api_kinds.emplace_back();
    services = {.kind = kube::Kind::kService, .connected = true, .events = 6};
    services.heard = s.taken - std::chrono::milliseconds(500);
    services.lag = std::chrono::milliseconds(250);
    s.api_kinds.push_back({.kind = kube::Kind::kPod, .connected = true, .absent = true});
    s.leading = true;
    s.events = {.created = 3, .repeated = 2, .suppressed = 1, .failed = 0};
    s.ready = true;
    return s;
}

TEST(Metrics, ShowsWhatTheKernelAndTheAgentSay) {
    Metrics metrics({"1.2.3", "abc"}, snapshot);
    metrics.programmed(std::chrono::milliseconds(4));
    metrics.network_programmed(std::chrono::seconds(2));
    metrics.cni_request("ADD", 0, std::chrono::milliseconds(7));
    metrics.cni_request("ADD", 11, std::chrono::milliseconds(1));
    const std::string text = metrics.render();
    for (const char* line :
         {"weir_build_info{version=\"1.2.3\",commit=\"abc\"} 1\n",
          "weir_ready 1\n",
          "weir_kube_leader 1\n",
          "weir_kube_notes_total{result=\"created\"} 3\n",
          "weir_kube_notes_total{result=\"suppressed\"} 1\n",
          "weir_dropped_packets_total{reason=\"ct_full\",direction=\"to_pod\"} 3\n",
          "weir_dropped_bytes_total{reason=\"ct_full\",direction=\"to_pod\"} 180\n",
          "weir_flow_events_lost_total 7\n",
          "weir_table_entries{table=\"weir_ct4\"} 10\n",
          "weir_table_capacity{table=\"weir_ct4\"} 1000\n",
          "weir_ipam_addresses{family=\"IPv4\",state=\"used\"} 5\n",
          "weir_ipam_capacity{family=\"IPv4\"} 253\n",
          "weir_problems{kind=\"Service\"} 2\n",
          "weir_api_refused_total{reason=\"malformed\"} 4\n",
          "weir_kube_connected{kind=\"Service\"} 1\n",
          "weir_kube_synced{kind=\"Service\"} 0\n",
          "weir_kube_silence_seconds{kind=\"Service\"} 0.5\n",
          "weir_kube_silence_seconds{kind=\"Pod\"} 0\n",
          "weir_kube_lag_seconds{kind=\"Service\"} 0.25\n",
          "weir_kube_connected{kind=\"Pod\"} 0\n",
          "weir_kube_events_total{kind=\"Service\"} 6\n",
          "weir_programming_duration_seconds_bucket{le=\"0.005\"} 1\n",
          "weir_programming_duration_seconds_bucket{le=\"0.0025\"} 0\n",
          "kubeproxy_network_programming_duration_seconds_bucket{le=\"2\"} 1\n",
          "kubeproxy_network_programming_duration_seconds_bucket{le=\"300\"} 1\n",
          "weir_cni_requests_total{code=\"0\",command=\"ADD\"} 1\n",
          "weir_cni_requests_total{code=\"11\",command=\"ADD\"} 1\n",
          "weir_cni_request_duration_seconds_count{command=\"ADD\"} 2\n"}) {
        EXPECT_THAT(text, HasSubstr(line));
    }
    EXPECT_THAT(text, Not(HasSubstr("reason=\"none\"")));
    EXPECT_GT(resident_bytes(), 1'000'000U);
}

TEST(Metrics, WhatCannotBeReadIsAbsentNotZero) {
    const Metrics metrics({"1", "c"}, [] {
        Snapshot s = snapshot();
        s.tables_readable = false;
        return s;
    });
    const std::string text = metrics.render();
    EXPECT_THAT(text, Not(HasSubstr("weir_dropped_packets_total")));
    EXPECT_THAT(text, Not(HasSubstr("weir_flow_events_lost_total")));
    EXPECT_THAT(text, HasSubstr("weir_ready 1"));
}

TEST(Metrics, CardinalityIsBoundedWhateverCallersSend) {
    Metrics metrics({"1", "c"}, snapshot);
    for (unsigned i = 0; i < 10'000; ++i) {
        metrics.cni_request("X" + std::to_string(i), 1000 + i, std::chrono::milliseconds(1));
    }
    const std::string text = metrics.render();
    EXPECT_THAT(text, HasSubstr("weir_cni_requests_total{code=\"999\",command=\"other\"} 10000\n"));
    EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 800);
}

TEST(Metrics, EveryMetricIsInTheReferenceAndNoneTwice) {
    Metrics metrics({"1", "c"}, snapshot);
    metrics.cni_request("ADD", 0, std::chrono::milliseconds(7));
    const std::string reference = metrics_reference();
    std::istringstream lines(metrics.render());
    std::set<std::string> seen;
    size_t types = 0;
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("# TYPE ")) continue;
        const std::string name = line.substr(7, line.find(' ', 7) - 7);
        EXPECT_TRUE(seen.insert(name).second) << name;
        EXPECT_THAT(reference, HasSubstr("| `" + name + "` |"));
        ++types;
    }
    EXPECT_EQ(static_cast<size_t>(std::count(reference.begin(), reference.end(), '\n')), types + 9);
}

}  // namespace
}  // namespace weir::metrics
