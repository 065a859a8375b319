// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

/// Times as Kubernetes objects, the API and flow records write them.
namespace weir {

/// "2026-01-02T03:04:05Z". "": not within the years 1 to 9999, which are all that RFC 3339 can say.
[[nodiscard]] std::string rfc3339(std::chrono::sys_seconds time);
/// The same, with the fraction cut.
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);
/// The same with nine digits of fraction.
[[nodiscard]] std::string rfc3339_nanos(std::chrono::sys_time<std::chrono::nanoseconds> time);
/// The same with six digits of fraction, which is the only form that a MicroTime of the API takes.
[[nodiscard]] std::string rfc3339_micros(std::chrono::system_clock::time_point time);
/// Of now, in whole seconds.
[[nodiscard]] std::string rfc3339_now();

/// "2026-01-02T03:04:05.123456789Z" or with an offset, in capitals; digits below the nanosecond are
/// cut. nullopt: it is no such time, or outside of the years 1970 to 2261, which the clock can say.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_rfc3339(
    std::string_view text);

}  // namespace weir
