// SPDX-License-Identifier: Apache-2.0
#include "common/rfc3339.h"

#include <array>

#include <fmt/format.h>

#include "common/number.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

/// 0001-01-01 and the last second of 9999.
constexpr std::chrono::sys_seconds kFirst{-62135596800s};
constexpr std::chrono::sys_seconds kLast{253402300799s};

/// Without the "Z"; "": it cannot be said.
std::string date_and_time(std::chrono::sys_seconds time) {
    if (time < kFirst || time > kLast) return {};
    const auto midnight = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(midnight);
    const std::chrono::hh_mm_ss clock(time - midnight);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

/// Takes `digits` digits from the front; -1: they are not there.
int take_number(std::string_view& text, size_t digits) {
    if (text.size() < digits) return -1;
    const auto value = whole_number<unsigned>(text.substr(0, digits));
    if (!value) return -1;
    text.remove_prefix(digits);
    return static_cast<int>(*value);
}

bool take(std::string_view& text, char expected) {
    if (!text.starts_with(expected)) return false;
    text.remove_prefix(1);
    return true;
}

/// ".123456789", cut to nanoseconds; absent: 0.
std::optional<std::chrono::nanoseconds> take_fraction(std::string_view& text) {
    if (!take(text, '.')) return 0ns;
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
        if (digits < 9) value = value * 10 + (text[digits] - '0');
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
    for (size_t i = digits; i < 9; ++i)
        value *= 10;
    return std::chrono::nanoseconds(value);
}

/// "Z" or "+02:00", to the end of the text.
std::optional<std::chrono::seconds> take_offset(std::string_view& text) {
    if (text == "Z") return 0s;
    if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
    const int sign = text.front() == '+' ? 1 : -1;
    text.remove_prefix(1);
    const int hours = take_number(text, 2);
    if (hours < 0 || hours > 23 || !take(text, ':')) return std::nullopt;
    const int minutes = take_number(text, 2);
    if (minutes < 0 || minutes > 59 || !text.empty()) return std::nullopt;
    return std::chrono::seconds(sign * (hours * 3600 + minutes * 60));
}

}  // namespace

std::string rfc3339(std::chrono::sys_seconds time) {
    const std::string text = date_and_time(time);
    return text.empty() ? text : text + "Z";
}

std::string rfc3339(std::chrono::system_clock::time_point time) {
    return rfc3339(std::chrono::floor<std::chrono::seconds>(time));
}

std::string rfc3339_nanos(std::chrono::sys_time<std::chrono::nanoseconds> time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    return fmt::format("{}.{:09}Z", date_and_time(seconds), (time - seconds).count());
}

std::string rfc3339_micros(std::chrono::system_clock::time_point time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const auto micros = std::chrono::floor<std::chrono::microseconds>(time - seconds);
    return fmt::format("{}.{:06}Z", date_and_time(seconds), micros.count());
}

std::string rfc3339_now() {
    return rfc3339(std::chrono::system_clock::now());
}

std::optional<std::chrono::system_clock::time_point> parse_rfc3339(std::string_view text) {
    struct Part {
        size_t digits;
        int least;
        int most;
        char after;  ///< '\0': nothing
    };
    constexpr std::array kParts = {Part{4, 1970, 2261, '-'}, Part{2, 1, 12, '-'},
                                   Part{2, 1, 31, 'T'},      Part{2, 0, 23, ':'},
                                   Part{2, 0, 59, ':'},      Part{2, 0, 60, '\0'}};
    std::array<int, kParts.size()> values{};
    for (size_t i = 0; i < kParts.size(); ++i) {
        values[i] = take_number(text, kParts[i].digits);
        if (values[i] < kParts[i].least || values[i] > kParts[i].most) return std::nullopt;
        if (kParts[i].after != '\0' && !take(text, kParts[i].after)) return std::nullopt;
    }
    const auto fraction = take_fraction(text);
    const auto offset = fraction ? take_offset(text) : std::nullopt;
    if (!offset) return std::nullopt;
    const std::chrono::year_month_day date(std::chrono::year(values[0]),
                                           std::chrono::month(static_cast<unsigned>(values[1])),
                                           std::chrono::day(static_cast<unsigned>(values[2])));
    if (!date.ok()) return std::nullopt;
    const auto time = std::chrono::sys_days(date) + std::chrono::hours(values[3]) +
                      std::chrono::minutes(values[4]) + std::chrono::seconds(values[5]) - *offset;
    return std::chrono::time_point_cast<std::chrono::system_clock::duration>(time + *fraction);
}

}  // namespace weir
