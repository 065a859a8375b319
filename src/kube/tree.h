// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace weir::kube {

/// Why a text is no tree; lines count from 1.
struct SyntaxError {
    uint32_t line = 1;
    std::string message;
};

/// One parsed document: nodes in document order, each with its line and its key, so that a reader
/// can say where a mistake is. A subtree is a contiguous range of indices.
class Tree {
  public:
    using Index = uint32_t;
    static constexpr Index kNone = UINT32_MAX;

    enum class Type : uint8_t { kNull, kBool, kNumber, kString, kSequence, kMapping };

    struct Node {
        Index parent = kNone;
        Index first_child = kNone;
        Index next = kNone;  ///< next sibling
        Index end = kNone;   ///< one past the last node of this subtree
        uint32_t key_at = 0;
        uint32_t key_size = 0;
        uint32_t text_at = 0;
        uint32_t text_size = 0;
        uint32_t line = 0;
        Type type = Type::kNull;
    };

    [[nodiscard]] bool empty() const { return nodes_.empty(); }
    [[nodiscard]] const Node& node(Index index) const { return nodes_[index]; }
    [[nodiscard]] size_t size() const { return nodes_.size(); }
    /// The key under which the node stands in its mapping; "" in a sequence.
    [[nodiscard]] std::string_view key(Index index) const {
        return std::string_view(text_).substr(nodes_[index].key_at, nodes_[index].key_size);
    }
    /// The characters of a scalar, unescaped.
    [[nodiscard]] std::string_view text(Index index) const {
        return std::string_view(text_).substr(nodes_[index].text_at, nodes_[index].text_size);
    }
    /// The child of a mapping, or kNone.
    [[nodiscard]] Index child(Index mapping, std::string_view key) const;
    /// Nodes whose key stands a second time in the same mapping, in document order.
    [[nodiscard]] const std::vector<Index>& duplicates() const { return duplicates_; }
    /// "spec.ports[1].port", from below `root`.
    [[nodiscard]] std::string path(Index index, Index root) const;

  private:
    friend class TreeBuilder;
    std::vector<Node> nodes_;
    std::string text_;
    std::vector<Index> duplicates_;
};

/// Builds a Tree from the events of a parser and bounds it. After a method returned false the
/// document is beyond a limit or malformed, error() says how, and nothing more may be added.
class TreeBuilder {
  public:
    static constexpr size_t kMaxDepth = 64;
    static constexpr size_t kMaxNodes = 8'000'000;
    /// What aliases expand to, in all.
    static constexpr size_t kMaxCopied = 100'000;
    static constexpr size_t kMaxText = size_t{256} << 20;

    /// The next value of the open mapping gets this key.
    bool key(std::string_view key, uint32_t line);
    bool scalar(std::string_view text, Tree::Type type, uint32_t line);
    bool open(Tree::Type type, uint32_t line);
    bool close();
    /// A copy of the subtree at `source`, which must be complete.
    bool copy(Tree::Index source, uint32_t line);
    /// In a mapping: the keys of the mapping at `source` that are not there yet.
    bool merge(Tree::Index source, uint32_t line);

    /// The node added last; of a container, while it is open.
    [[nodiscard]] Tree::Index last() const { return last_; }
    [[nodiscard]] bool in_mapping() const;
    [[nodiscard]] bool wants_key() const { return in_mapping() && !pending_key_; }
    [[nodiscard]] bool complete() const { return open_.empty() && !tree_.empty(); }
    [[nodiscard]] const SyntaxError& error() const { return error_; }
    [[nodiscard]] const Tree& tree() const { return tree_; }
    bool fail(uint32_t line, std::string message);
    Tree take() { return std::move(tree_); }

  private:
    struct Open {
        Tree::Index node;
        Tree::Index last_child = Tree::kNone;
    };
    bool add(Tree::Type type, uint32_t line);
    bool store(std::string_view text, uint32_t& at, uint32_t& size, uint32_t line);
    void find_duplicates(Tree::Index mapping);

    Tree tree_;
    size_t copied_ = 0;
    std::vector<Open> open_;
    std::optional<std::pair<uint32_t, uint32_t>> pending_key_;  ///< place and size in the text
    Tree::Index last_ = Tree::kNone;
    SyntaxError error_;
};

}  // namespace weir::kube
