// SPDX-License-Identifier: Apache-2.0
#include "kube/api/tree_writer.h"

#include "common/rfc3339.h"
#include "kube/json_parser.h"

namespace weir::kube::api {

void TreeWriter::name(std::string_view key) {
    if (!valid_utf8(key)) {
        ok_ = ok_ && builder_.fail(kLine, "a key is not UTF-8");
    }
    if (ok_) ok_ = builder_.key(key, kLine);
}

void TreeWriter::item(std::string_view value) {
    if (ok_ && !valid_utf8(value)) ok_ = builder_.fail(kLine, "a text is not UTF-8");
    if (ok_) ok_ = builder_.scalar(value, Tree::Type::kString, kLine);
}

void TreeWriter::time(std::string_view key, const pb::Time& time) {
    if (!time.has_seconds()) return;
    text(key, rfc3339(std::chrono::sys_seconds(std::chrono::seconds(time.seconds()))));
}

void TreeWriter::int_or_string(std::string_view key, const pb::IntOrString& value) {
    if (value.type() != 0) {
        name(key);
        return item(value.str_val());
    }
    name(key);
    const std::string digits = std::to_string(value.int_val());
    go(ok_ && builder_.scalar(digits, Tree::Type::kNumber, kLine));
}

void TreeWriter::selector(std::string_view key, const pb::LabelSelector& selector) {
    open(key);
    map("matchLabels", selector.match_labels());
    list("matchExpressions", selector.match_expressions(), [this](const auto& expression) {
        text("key", expression.key());
        text("operator", expression.operator_());
        texts("values", expression.values());
    });
    close();
}

void TreeWriter::metadata(const pb::ObjectMeta& meta) {
    open("metadata");
    text("name", meta.name());
    text("namespace", meta.namespace_());
    text("uid", meta.uid());
    text("resourceVersion", meta.resource_version());
    if (meta.has_creation_timestamp()) time("creationTimestamp", meta.creation_timestamp());
    if (meta.has_deletion_timestamp()) time("deletionTimestamp", meta.deletion_timestamp());
    map("labels", meta.labels());
    map("annotations", meta.annotations());
    close();
}

Result<Tree> TreeWriter::take() {
    if (!ok_) return fail(Errc::kInvalid, "{}", builder_.error().message);
    return builder_.take();
}

}  // namespace weir::kube::api
