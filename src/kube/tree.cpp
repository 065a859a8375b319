// SPDX-License-Identifier: Apache-2.0
#include "kube/tree.h"

#include <algorithm>
#include <ranges>
#include <tuple>

#include <fmt/format.h>

namespace weir::kube {
namespace {

/// Keys with dots or slashes, as labels have, are bracketed: metadata.labels[kubernetes.io/name].
bool plain_key(std::string_view key) {
    return !key.empty() && key.find_first_of("./[] ") == std::string_view::npos;
}

}  // namespace

Tree::Index Tree::child(Index mapping, std::string_view wanted) const {
    for (Index i = nodes_[mapping].first_child; i != kNone; i = nodes_[i].next) {
        if (key(i) == wanted) return i;
    }
    return kNone;
}

std::string Tree::path(Index index, Index root) const {
    std::vector<Index> way;
    for (; index != root && index != kNone; index = nodes_[index].parent)
        way.push_back(index);
    std::string path;
    for (const Index step : way | std::views::reverse) {
        const Index parent = nodes_[step].parent;
        if (nodes_[parent].type == Type::kSequence) {
            size_t position = 0;
            for (Index i = nodes_[parent].first_child; i != step; i = nodes_[i].next)
                ++position;
            path += fmt::format("[{}]", position);
        } else if (plain_key(key(step))) {
            path += fmt::format("{}{}", path.empty() ? "" : ".", key(step));
        } else {
            path += fmt::format("[{}]", key(step));
        }
    }
    return path;
}

bool TreeBuilder::fail(uint32_t line, std::string message) {
    error_ = {line, std::move(message)};
    return false;
}

bool TreeBuilder::in_mapping() const {
    return !open_.empty() && tree_.nodes_[open_.back().node].type == Tree::Type::kMapping;
}

bool TreeBuilder::store(std::string_view text, uint32_t& at, uint32_t& size, uint32_t line) {
    if (text.size() > kMaxText - tree_.text_.size()) {
        return fail(line, fmt::format("document holds over {} MiB of text", kMaxText >> 20));
    }
    at = static_cast<uint32_t>(tree_.text_.size());
    size = static_cast<uint32_t>(text.size());
    tree_.text_ += text;
    return true;
}

bool TreeBuilder::key(std::string_view key, uint32_t line) {
    uint32_t at = 0;
    uint32_t size = 0;
    if (!store(key, at, size, line)) return false;
    pending_key_ = {at, size};
    return true;
}

bool TreeBuilder::add(Tree::Type type, uint32_t line) {
    if (tree_.nodes_.size() >= kMaxNodes) {
        return fail(line, fmt::format("document expands to over {} values", kMaxNodes));
    }
    const auto index = static_cast<Tree::Index>(tree_.nodes_.size());
    Tree::Node node{.end = index + 1, .line = line, .type = type};
    if (pending_key_) std::tie(node.key_at, node.key_size) = *std::exchange(pending_key_, {});
    if (!open_.empty()) {
        auto& [parent, last_child] = open_.back();
        node.parent = parent;
        (last_child == Tree::kNone ? tree_.nodes_[parent].first_child
                                   : tree_.nodes_[last_child].next) = index;
        last_child = index;
    }
    tree_.nodes_.push_back(node);
    last_ = index;
    return true;
}

bool TreeBuilder::scalar(std::string_view text, Tree::Type type, uint32_t line) {
    if (!add(type, line)) return false;
    return store(text, tree_.nodes_[last_].text_at, tree_.nodes_[last_].text_size, line);
}

bool TreeBuilder::open(Tree::Type type, uint32_t line) {
    if (open_.size() >= kMaxDepth) {
        return fail(line, fmt::format("nested more than {} levels deep", kMaxDepth));
    }
    if (!add(type, line)) return false;
    open_.push_back({last_});
    return true;
}

bool TreeBuilder::close() {
    const Tree::Index index = open_.back().node;
    open_.pop_back();
    tree_.nodes_[index].end = static_cast<Tree::Index>(tree_.nodes_.size());
    if (tree_.nodes_[index].type == Tree::Type::kMapping) find_duplicates(index);
    last_ = index;
    return true;
}

void TreeBuilder::find_duplicates(Tree::Index mapping) {
    std::vector<std::pair<std::string_view, Tree::Index>> keys;
    for (auto i = tree_.nodes_[mapping].first_child; i != Tree::kNone; i = tree_.nodes_[i].next) {
        keys.emplace_back(tree_.key(i), i);
    }
    std::ranges::sort(keys);
    for (size_t i = 1; i < keys.size(); ++i) {
        if (keys[i].first == keys[i - 1].first) tree_.duplicates_.push_back(keys[i].second);
    }
}

bool TreeBuilder::copy(Tree::Index source, uint32_t line) {
    if (++copied_ > kMaxCopied) {
        return fail(line, fmt::format("aliases expand to over {} values", kMaxCopied));
    }
    const Tree::Type type = tree_.nodes_[source].type;
    if (type != Tree::Type::kSequence && type != Tree::Type::kMapping) {
        if (!add(type, line)) return false;
        tree_.nodes_[last_].text_at = tree_.nodes_[source].text_at;
        tree_.nodes_[last_].text_size = tree_.nodes_[source].text_size;
        return true;
    }
    if (!open(type, line)) return false;
    for (auto i = tree_.nodes_[source].first_child; i != Tree::kNone; i = tree_.nodes_[i].next) {
        if (type == Tree::Type::kMapping) {
            pending_key_ = {tree_.nodes_[i].key_at, tree_.nodes_[i].key_size};
        }
        if (!copy(i, line)) return false;
    }
    return close();
}

bool TreeBuilder::merge(Tree::Index source, uint32_t line) {
    const Tree::Index target = open_.back().node;
    for (auto i = tree_.nodes_[source].first_child; i != Tree::kNone; i = tree_.nodes_[i].next) {
        if (tree_.child(target, tree_.key(i)) != Tree::kNone) continue;
        pending_key_ = {tree_.nodes_[i].key_at, tree_.nodes_[i].key_size};
        if (!copy(i, line)) return false;
    }
    return true;
}

}  // namespace weir::kube
