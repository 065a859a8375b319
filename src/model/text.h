// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace weir::model {

/// An immutable string of eight bytes whose copies share one allocation; the empty one has none.
/// Objects of a big cluster repeat the same few names many times over: this keeps them small.
/// Reads like a std::string_view and converts from and to the usual string types. Copies may be
/// made and dropped on several threads at once.
class Text {
  public:
    Text() = default;
    Text(std::string_view text);
    Text(const std::string& text) : Text(std::string_view(text)) {}
    Text(const char* text) : Text(std::string_view(text)) {}
    Text(const Text& other) noexcept;
    Text(Text&& other) noexcept : rep_(std::exchange(other.rep_, nullptr)) {}
    Text& operator=(const Text& other) noexcept {
        Text copy(other);
        std::swap(rep_, copy.rep_);
        return *this;
    }
    Text& operator=(Text&& other) noexcept {
        std::swap(rep_, other.rep_);
        return *this;
    }
    ~Text();

    [[nodiscard]] std::string_view view() const;
    [[nodiscard]] const char* c_str() const;
    [[nodiscard]] std::string str() const { return std::string(view()); }
    [[nodiscard]] size_t size() const { return view().size(); }
    [[nodiscard]] bool empty() const { return rep_ == nullptr; }
    /// True if no other copy shares the allocation.
    [[nodiscard]] bool unique() const;
    operator std::string_view() const { return view(); }
    operator std::string() const { return str(); }

    friend bool operator==(const Text& a, const Text& b) {
        return a.rep_ == b.rep_ || a.view() == b.view();
    }
    friend std::strong_ordering operator<=>(const Text& a, const Text& b) {
        return a.view() <=> b.view();
    }
    template <typename T>
        requires(std::convertible_to<const T&, std::string_view> && !std::same_as<T, Text>)
    friend bool operator==(const Text& a, const T& b) {
        return a.view() == std::string_view(b);
    }
    template <typename T>
        requires(std::convertible_to<const T&, std::string_view> && !std::same_as<T, Text>)
    friend std::strong_ordering operator<=>(const Text& a, const T& b) {
        return a.view() <=> std::string_view(b);
    }
    friend std::string operator+(const Text& a, std::string_view b) {
        return fmt::format("{}{}", a.view(), b);
    }
    friend std::string operator+(std::string_view a, const Text& b) {
        return fmt::format("{}{}", a, b.view());
    }

  private:
    struct Rep;
    Rep* rep_ = nullptr;
};

}  // namespace weir::model

template <>
struct std::hash<weir::model::Text> {
    size_t operator()(const weir::model::Text& text) const noexcept {
        return std::hash<std::string_view>()(text.view());
    }
};

template <>
struct fmt::formatter<weir::model::Text> : fmt::formatter<std::string_view> {
    template <typename Context>
    auto format(const weir::model::Text& text, Context& context) const {
        return fmt::formatter<std::string_view>::format(text.view(), context);
    }
};
