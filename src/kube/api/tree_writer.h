// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "kube/api/meta.pb.h"
#include "kube/tree.h"

namespace weir::kube::api {

/// Builds the tree of a protobuf message as encoding/json would write it: empty strings, zeros and
/// empty lists are left out, as the API types' omitempty does.
class TreeWriter {
  public:
    void open() { go(ok_ && builder_.open(Tree::Type::kMapping, kLine)); }
    void open(std::string_view key) {
        name(key);
        open();
    }
    void open_list(std::string_view key) {
        name(key);
        go(ok_ && builder_.open(Tree::Type::kSequence, kLine));
    }
    void close() {
        if (ok_) builder_.close();
    }

    void text(std::string_view key, std::string_view value) {
        if (value.empty()) return;
        name(key);
        item(value);
    }
    void number(std::string_view key, int64_t value) {
        if (value == 0) return;
        name(key);
        const std::string digits = std::to_string(value);
        go(ok_ && builder_.scalar(digits, Tree::Type::kNumber, kLine));
    }
    void boolean(std::string_view key, bool value) {
        name(key);
        go(ok_ && builder_.scalar(value ? "true" : "false", Tree::Type::kBool, kLine));
    }
    void item(std::string_view value);
    /// The strings of a list, empty ones too.
    void texts(std::string_view key, const auto& values) {
        if (values.empty()) return;
        open_list(key);
        for (const auto& value : values)
            item(value);
        close();
    }
    void map(std::string_view key, const auto& entries) {
        if (entries.empty()) return;
        open(key);
        for (const auto& [name_of, value] : entries) {
            name(name_of);
            item(value);
        }
        close();
    }
    /// `write(message)` for each, within a list.
    template <typename Messages, typename Write>
    void list(std::string_view key, const Messages& messages, Write write) {
        if (messages.empty()) return;
        open_list(key);
        for (const auto& message : messages) {
            open();
            write(message);
            close();
        }
        close();
    }
    void time(std::string_view key, const pb::Time& time);
    void int_or_string(std::string_view key, const pb::IntOrString& value);
    void selector(std::string_view key, const pb::LabelSelector& selector);
    void metadata(const pb::ObjectMeta& meta);

    /// Why there is no tree, if there is none.
    [[nodiscard]] Result<Tree> take();

  private:
    static constexpr uint32_t kLine = 1;
    void name(std::string_view key);
    void go(bool done) { ok_ = ok_ && done; }

    TreeBuilder builder_;
    bool ok_ = true;
};

}  // namespace weir::kube::api
