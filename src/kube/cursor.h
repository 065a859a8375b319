// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ip.h"
#include "kube/text_pool.h"
#include "kube/tree.h"
#include "model/types.h"

namespace weir::kube {

/// One mistake in a document.
struct FieldError {
    uint32_t line = 0;
    std::string path;  ///< "spec.ports[1].port"; "" for the object itself
    std::string message;
    bool operator==(const FieldError&) const = default;
};

/// Collects the mistakes of one object, the first few of them.
class Report {
  public:
    static constexpr size_t kMaxErrors = 10;

    explicit Report(TextPool& pool) : pool_(pool) {}
    void add(FieldError error);
    [[nodiscard]] bool ok() const { return errors_.empty(); }
    [[nodiscard]] TextPool& pool() { return pool_; }
    /// In the order of the document; the last one tells how many more there are.
    [[nodiscard]] std::vector<FieldError> take();

  private:
    TextPool& pool_;
    std::vector<FieldError> errors_;
    size_t dropped_ = 0;
};

/// A place in a document, possibly one that is not there. Reading a value of the wrong type or out
/// of range reports it with its path and gives "absent", so decoders read on and every mistake of
/// an object is told at once. null counts as absent, as in the API.
class Cursor {
  public:
    Cursor(const Tree& tree, Tree::Index root, Report& report)
        : tree_(&tree), report_(&report), root_(root), node_(root), parent_(root) {}

    [[nodiscard]] bool present() const;
    [[nodiscard]] Tree::Type type() const { return tree_->node(node_).type; }
    /// The field of a mapping; absent if this is absent or, after a report, no mapping.
    [[nodiscard]] Cursor operator[](std::string_view key) const;
    /// The elements of a sequence.
    [[nodiscard]] std::vector<Cursor> items() const;
    /// The entries of a mapping.
    [[nodiscard]] std::vector<std::pair<std::string_view, Cursor>> entries() const;

    [[nodiscard]] std::optional<std::string_view> string() const;
    [[nodiscard]] std::optional<bool> boolean() const;
    [[nodiscard]] std::optional<int64_t> integer(int64_t low, int64_t high) const;
    /// 1 to 65535.
    [[nodiscard]] std::optional<uint16_t> port() const;
    [[nodiscard]] std::optional<IpAddress> ip() const;
    /// A CIDR; host bits are cleared.
    [[nodiscard]] std::optional<IpPrefix> prefix() const;
    [[nodiscard]] model::Protocol protocol() const;
    /// A port number, or a port name as IANA has them.
    [[nodiscard]] std::optional<model::PortRef> port_ref() const;
    [[nodiscard]] model::Text text() const { return pooled(string().value_or("")); }
    [[nodiscard]] model::Text pooled(std::string_view text) const {
        return report_->pool().intern(text);
    }

    /// The value that goes with one of the words.
    template <typename T, size_t N>
    [[nodiscard]] std::optional<T> one_of(
        const std::array<std::pair<std::string_view, T>, N>& words) const {
        const auto found = string();
        if (!found) return std::nullopt;
        for (const auto& [word, value] : words) {
            if (*found == word) return value;
        }
        std::string list;
        for (const auto& [word, value] : words) {
            list += fmt::format("{}{}", list.empty() ? "" : ", ", word);
        }
        error("\"{}\" is none of {}", *found, list);
        return std::nullopt;
    }
    template <typename T, size_t N>
    [[nodiscard]] T choice(const std::array<std::pair<std::string_view, T>, N>& words,
                           T fallback) const {
        return one_of(words).value_or(fallback);
    }

    /// Reports unless present. A key that is missing is told with the place where it should be.
    bool require() const;
    template <typename... Args>
    void error(fmt::format_string<Args...> format, Args&&... args) const {
        add_error(fmt::format(format, std::forward<Args>(args)...));
    }
    [[nodiscard]] Tree::Index index() const { return node_; }
    [[nodiscard]] uint32_t line() const;
    [[nodiscard]] std::string path() const;

  private:
    Cursor at(Tree::Index node) const;
    void add_error(std::string message) const;
    void wrong_type(std::string_view wanted) const;

    const Tree* tree_;
    Report* report_;
    Tree::Index root_;
    Tree::Index node_;            ///< kNone if it is not there
    Tree::Index parent_;          ///< of an absent one: where it is missing
    std::string_view missing_{};  ///< and under which key
    bool told_ = false;           ///< its parent is of the wrong type, which is reported already
};

}  // namespace weir::kube
