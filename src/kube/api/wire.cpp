// SPDX-License-Identifier: Apache-2.0
#include "kube/api/wire.h"

#include <array>

#include "kube/api/meta.pb.h"
#include "kube/api/proto_tree.h"
#include "kube/json_parser.h"

namespace weir::kube::api {
namespace {

constexpr std::string_view kMagic{"k8s\0", 4};
constexpr std::string_view kInitialEnd = "k8s.io/initial-events-end";
constexpr size_t kMaxMessage = 300;  // of what a server says, as it goes to log and status

constexpr std::array<std::pair<std::string_view, EventType>, 5> kEventTypes = {
    {{"ADDED", EventType::kAdded},
     {"MODIFIED", EventType::kModified},
     {"DELETED", EventType::kDeleted},
     {"BOOKMARK", EventType::kBookmark},
     {"ERROR", EventType::kError}}};

Result<EventType> event_type(std::string_view word) {
    for (const auto& [name, type] : kEventTypes) {
        if (name == word) return type;
    }
    return fail(Errc::kInvalid, "a watch event of an unknown type");
}

template <typename Message>
bool parse(Message& message, std::string_view bytes) {
    return bytes.size() <= INT32_MAX &&
           message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

/// What a server says, fit for a line of a log.
std::string readable(std::string_view text) {
    std::string out(text.substr(0, kMaxMessage));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return valid_utf8(out) ? out : std::string("(no text)");
}

/// The message inside of an envelope, which must be of the kind.
Result<pb::Unknown> open_envelope(std::string_view bytes) {
    if (!bytes.starts_with(kMagic)) return fail(Errc::kInvalid, "not a protobuf object");
    pb::Unknown unknown;
    if (!parse(unknown, bytes.substr(kMagic.size()))) {
        return fail(Errc::kInvalid, "malformed protobuf envelope");
    }
    if (!unknown.content_type().empty() &&
        unknown.content_type() != "application/vnd.kubernetes.protobuf") {
        return fail(Errc::kInvalid, "an object in an encoding that was not asked for");
    }
    return unknown;
}

Result<pb::Unknown> open_envelope(std::string_view bytes, std::string_view kind) {
    auto unknown = WEIR_TRY(open_envelope(bytes));
    if (unknown.type_meta().kind() != kind) {
        return fail(Errc::kInvalid, "an object of kind \"{}\" where {} was asked for",
                    readable(unknown.type_meta().kind()), kind);
    }
    return unknown;
}

Status to_status(const pb::Status& in, int code) {
    Status out{.code = in.code() != 0 ? in.code() : code,
               .reason = readable(in.reason()),
               .message = readable(in.message()),
               .retry_after = {}};
    if (const int seconds = in.details().retry_after_seconds(); seconds > 0) {
        out.retry_after = std::chrono::seconds(seconds);
    }
    return out;
}

Item decode_item(Kind kind, const Tree& tree, Tree::Index root, TextPool& pool) {
    Item item{.decoded = decode_object(tree, root, kind, pool), .resource_version = {}};
    if (tree.node(root).type != Tree::Type::kMapping) return item;
    const auto metadata = tree.child(root, "metadata");
    if (metadata == Tree::kNone || tree.node(metadata).type != Tree::Type::kMapping) return item;
    const auto version = tree.child(metadata, "resourceVersion");
    if (version != Tree::kNone) item.resource_version = tree.text(version);
    return item;
}

/// What the message of one object says. Malformed bytes are an object of which nothing is known.
Item decode_message(Kind kind, std::string_view message, TextPool& pool) {
    const auto tree = tree_of(kind, message);
    if (tree) return decode_item(kind, *tree, 0, pool);
    Item item;
    item.decoded.errors.push_back({0, "", tree.error().message()});
    return item;
}

Result<WatchEvent> read_protobuf_event(Kind kind, std::string_view frame, TextPool& pool) {
    pb::WatchEvent raw;
    if (!parse(raw, frame)) return fail(Errc::kInvalid, "malformed watch frame");
    WatchEvent event;
    event.type = WEIR_TRY(event_type(raw.type()));
    if (event.type == EventType::kError) {
        const auto unknown = WEIR_TRY(open_envelope(raw.object().raw(), "Status"));
        pb::Status status;
        if (!parse(status, unknown.raw())) return fail(Errc::kInvalid, "malformed status");
        event.status = to_status(status, 0);
        return event;
    }
    const auto unknown = WEIR_TRY(open_envelope(raw.object().raw(), to_string(kind)));
    if (event.type != EventType::kBookmark) {
        event.item = decode_message(kind, unknown.raw(), pool);
        event.resource_version = event.item.resource_version;
        return event;
    }
    pb::ObjectHead head;
    if (!parse(head, unknown.raw())) return fail(Errc::kInvalid, "malformed bookmark");
    event.resource_version = head.metadata().resource_version();
    const auto& annotations = head.metadata().annotations();
    const auto end = annotations.find(std::string(kInitialEnd));
    event.initial_end = end != annotations.end() && end->second == "true";
    return event;
}

/// The one value of a JSON text.
Result<Tree> parse_one(std::string_view text) {
    std::optional<Tree> found;
    bool several = false;
    const auto error = parse_json(text, 1, [&](Tree tree) {
        several = several || found.has_value();
        found = std::move(tree);
    });
    if (error) return fail(Errc::kInvalid, "malformed JSON: {}", error->message);
    if (!found || several) return fail(Errc::kInvalid, "malformed JSON: not one value");
    if (found->node(0).type != Tree::Type::kMapping) return fail(Errc::kInvalid, "no JSON object");
    return *std::move(found);
}

std::string_view text_at(const Tree& tree, Tree::Index at, std::string_view key) {
    if (at == Tree::kNone || tree.node(at).type != Tree::Type::kMapping) return {};
    const auto child = tree.child(at, key);
    if (child == Tree::kNone || tree.node(child).type != Tree::Type::kString) return {};
    return tree.text(child);
}

Tree::Index mapping_at(const Tree& tree, Tree::Index at, std::string_view key) {
    if (at == Tree::kNone) return Tree::kNone;
    const auto child = tree.child(at, key);
    if (child == Tree::kNone || tree.node(child).type != Tree::Type::kMapping) return Tree::kNone;
    return child;
}

int number_at(const Tree& tree, Tree::Index at, std::string_view key, TextPool& pool) {
    if (at == Tree::kNone) return 0;
    Report report(pool);
    return static_cast<int>(Cursor(tree, at, report)[key].integer(0, 1'000'000).value_or(0));
}

Status json_status(const Tree& tree, Tree::Index at, int code) {
    TextPool pool;
    Status out{.code = number_at(tree, at, "code", pool),
               .reason = readable(text_at(tree, at, "reason")),
               .message = readable(text_at(tree, at, "message")),
               .retry_after = {}};
    if (out.code == 0) out.code = code;
    const int seconds = number_at(tree, mapping_at(tree, at, "details"), "retryAfterSeconds", pool);
    if (seconds > 0) out.retry_after = std::chrono::seconds(seconds);
    return out;
}

Result<void> check_kind(const Tree& tree, Tree::Index at, std::string_view kind) {
    const auto found = text_at(tree, at, "kind");
    if (found == kind) return {};
    return fail(Errc::kInvalid, "an object of kind \"{}\" where {} was asked for", readable(found),
                kind);
}

Result<WatchEvent> read_json_event(Kind kind, std::string_view frame, TextPool& pool) {
    const Tree tree = WEIR_TRY(parse_one(frame));
    WatchEvent event;
    event.type = WEIR_TRY(event_type(text_at(tree, 0, "type")));
    const auto object = mapping_at(tree, 0, "object");
    if (object == Tree::kNone) return fail(Errc::kInvalid, "a watch event without an object");
    if (event.type == EventType::kError) {
        event.status = json_status(tree, object, 0);
        return event;
    }
    WEIR_CHECK(check_kind(tree, object, to_string(kind)));
    const auto metadata = mapping_at(tree, object, "metadata");
    if (event.type == EventType::kBookmark) {
        event.resource_version = text_at(tree, metadata, "resourceVersion");
        event.initial_end =
            text_at(tree, mapping_at(tree, metadata, "annotations"), kInitialEnd) == "true";
        return event;
    }
    event.item = decode_item(kind, tree, object, pool);
    event.resource_version = event.item.resource_version;
    return event;
}

Result<ListPage> read_protobuf_list(Kind kind, std::string_view body, TextPool& pool) {
    const auto unknown = WEIR_TRY(open_envelope(body, fmt::format("{}List", to_string(kind))));
    pb::ObjectList list;
    if (!parse(list, unknown.raw())) return fail(Errc::kInvalid, "malformed list");
    ListPage page{.items = {},
                  .resource_version = list.metadata().resource_version(),
                  .next = list.metadata().continue_()};
    page.items.reserve(static_cast<size_t>(list.items_size()));
    for (const auto& item : list.items())
        page.items.push_back(decode_message(kind, item, pool));
    return page;
}

Result<ListPage> read_json_list(Kind kind, std::string_view body, TextPool& pool) {
    const Tree tree = WEIR_TRY(parse_one(body));
    WEIR_CHECK(check_kind(tree, 0, fmt::format("{}List", to_string(kind))));
    const auto metadata = mapping_at(tree, 0, "metadata");
    ListPage page{.items = {},
                  .resource_version = std::string(text_at(tree, metadata, "resourceVersion")),
                  .next = std::string(text_at(tree, metadata, "continue"))};
    Report report(pool);
    for (const Cursor& item : Cursor(tree, 0, report)["items"].items())
        page.items.push_back(decode_item(kind, tree, item.index(), pool));
    if (!report.ok()) return fail(Errc::kInvalid, "malformed list");
    return page;
}

}  // namespace

Result<WatchEvent> read_watch_event(Encoding encoding, Kind kind, std::string_view frame,
                                    TextPool& pool) {
    return encoding == Encoding::kProtobuf ? read_protobuf_event(kind, frame, pool)
                                           : read_json_event(kind, frame, pool);
}

Result<ListPage> read_list(Encoding encoding, Kind kind, std::string_view body, TextPool& pool) {
    auto page = encoding == Encoding::kProtobuf ? read_protobuf_list(kind, body, pool)
                                                : read_json_list(kind, body, pool);
    if (page && page->resource_version.empty()) {
        return fail(Errc::kInvalid, "a list without resourceVersion");
    }
    return page;
}

Status read_status(Encoding encoding, int code, std::string_view body) {
    if (encoding == Encoding::kProtobuf) {
        const auto unknown = open_envelope(body, "Status");
        pb::Status status;
        if (unknown && parse(status, unknown->raw())) return to_status(status, code);
    } else if (const auto tree = parse_one(body)) {
        return json_status(*tree, 0, code);
    }
    return {.code = code, .reason = {}, .message = readable(body), .retry_after = {}};
}

Result<bool> offers_resource(std::string_view body, std::string_view plural) {
    const Tree tree = WEIR_TRY(parse_one(body));
    WEIR_CHECK(check_kind(tree, 0, "APIResourceList"));
    TextPool pool;
    Report report(pool);
    for (const Cursor& resource : Cursor(tree, 0, report)["resources"].items()) {
        if (resource["name"].string() == plural) return true;
    }
    return false;
}

}  // namespace weir::kube::api
