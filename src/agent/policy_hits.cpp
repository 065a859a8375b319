// SPDX-License-Identifier: Apache-2.0
#include "agent/policy_hits.h"

#include <unordered_set>
#include <utility>

#include <boost/json.hpp>

#include "common/fd.h"
#include "common/log.h"
#include "common/rfc3339.h"

namespace weir::agent {
namespace {

namespace json = boost::json;

struct Entry {
    std::string rule;
    uint64_t flows = 0;
    PolicyHits::Time since;
    std::optional<PolicyHits::Time> last;
};

Result<PolicyHits::Time> time_of(const json::value& value) {
    const auto time = parse_rfc3339(value.as_string());
    if (!time) return fail(Errc::kInvalid, "\"{}\" is no time", value.as_string().c_str());
    return *time;
}

Result<Entry> parse(const json::object& object) {
    Entry out{.rule = std::string(object.at("rule").as_string()),
              .flows = object.at("flows").to_number<uint64_t>(),
              .since = WEIR_TRY(time_of(object.at("since"))),
              .last = {}};
    if (const auto* last = object.if_contains("last")) out.last = WEIR_TRY(time_of(*last));
    return out;
}

Result<std::vector<Entry>> parse(std::string_view text) {
    std::vector<Entry> out;
    try {
        const json::value whole = json::parse(text);
        for (const json::value& one : whole.as_array())
            out.push_back(WEIR_TRY(parse(one.as_object())));
    } catch (const std::exception& error) {
        return fail(Errc::kInvalid, "{}", error.what());
    }
    return out;
}

}  // namespace

PolicyHits::PolicyHits(std::filesystem::path file) : file_(std::move(file)) {
    load();
}

void PolicyHits::load() {
    const auto text = read_file(file_);
    if (!text && text.error().os_errno() == ENOENT) return;
    auto entries = text ? parse(*text) : Result<std::vector<Entry>>(Failure(text.error()));
    if (!entries) {
        log::warn("{}: {}; hits of policies' rules begin anew", file_.string(),
                  entries.error().message());
        return;
    }
    for (Entry& entry : *entries) {
        rules_[std::move(entry.rule)] = {
            .before = entry.flows, .seen = entry.flows, .since = entry.since, .last = entry.last};
    }
}

Result<uint64_t> PolicyHits::counted(uint32_t number, const Live& live) const {
    const uint64_t now = WEIR_TRY(read_(number));
    return now - std::min(now, live.start);
}

void PolicyHits::keep(uint32_t number, const Live& live) {
    const auto flows = counted(number, live);
    if (!flows) {
        log::warn("hits of {}: {}", live.rule, flows.error().message());
        return;
    }
    rules_[live.rule].before += *flows;
}

void PolicyHits::end() {
    for (const auto& [number, live] : live_)
        keep(number, live);
    live_.clear();
}

void PolicyHits::apply(std::span<const model::PolicyCounter> changes, Time now) {
    for (const auto& [number, rule] : changes) {
        if (const auto old = live_.find(number); old != live_.end()) {
            keep(number, old->second);
            live_.erase(old);
        }
        if (rule.empty()) continue;
        rules_.try_emplace(rule, Rule{.before = 0, .seen = 0, .since = now, .last = {}});
        live_[number] = {.rule = rule, .start = read_(number).value_or(0)};
    }
}

Result<PolicyHits::Total> PolicyHits::total(uint32_t number) const {
    const auto live = live_.find(number);
    if (live == live_.end()) return Total{};
    const Rule& rule = rules_.at(live->second.rule);
    const uint64_t flows = rule.before + WEIR_TRY(counted(number, live->second));
    return Total{.flows = flows, .since = rule.since, .last = rule.last};
}

void PolicyHits::look(Time now) {
    for (const auto& [number, live] : live_) {
        const auto flows = counted(number, live);
        if (!flows) continue;
        Rule& rule = rules_.at(live.rule);
        if (rule.before + *flows != rule.seen) rule.last = now;
        rule.seen = rule.before + *flows;
    }
}

void PolicyHits::forget_idle() {
    if (rules_.size() <= live_.size() + kMostIdle) return;
    std::unordered_set<std::string_view> in_force;
    for (const auto& [number, live] : live_)
        in_force.insert(live.rule);
    const size_t gone =
        std::erase_if(rules_, [&](const auto& entry) { return !in_force.contains(entry.first); });
    log::info("hits of {} rules that are no longer in force here are forgotten", gone);
}

Result<void> PolicyHits::save() {
    forget_idle();
    std::unordered_map<std::string_view, uint64_t> flows;
    for (const auto& [number, live] : live_)
        flows[live.rule] += counted(number, live).value_or(0);
    json::array out;
    for (const auto& [name, rule] : rules_) {
        const auto counted = flows.find(name);
        json::object entry{{"rule", name},
                           {"flows", rule.before + (counted == flows.end() ? 0 : counted->second)},
                           {"since", rfc3339(rule.since)}};
        if (rule.last) entry["last"] = rfc3339(*rule.last);
        out.push_back(std::move(entry));
    }
    std::string text = json::serialize(out);
    if (text == saved_) return {};
    WEIR_CHECK(write_file_atomic(file_, text, 0600));
    saved_ = std::move(text);
    return {};
}

}  // namespace weir::agent
