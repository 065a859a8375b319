// SPDX-License-Identifier: Apache-2.0
#include "kube/decode.h"

#include <array>
#include <unordered_map>

#include "kube/cursor.h"
#include "kube/decode_kinds.h"
#include "kube/documents.h"

namespace weir::kube {
namespace {

struct KindInfo {
    Kind kind;
    std::string_view api_version;
    bool namespaced;
};

constexpr std::array kKinds = {
    KindInfo{Kind::kNode, "v1", false},
    KindInfo{Kind::kNamespace, "v1", false},
    KindInfo{Kind::kPod, "v1", true},
    KindInfo{Kind::kService, "v1", true},
    KindInfo{Kind::kEndpointSlice, "discovery.k8s.io/v1", true},
    KindInfo{Kind::kNetworkPolicy, "networking.k8s.io/v1", true},
    KindInfo{Kind::kServiceCidr, "networking.k8s.io/v1", false},
    KindInfo{Kind::kClusterNetworkPolicy, "policy.networking.k8s.io/v1alpha2", false},
};

const KindInfo* find_kind(std::string_view kind) {
    for (const auto& info : kKinds) {
        if (to_string(info.kind) == kind) return &info;
    }
    return nullptr;
}

const KindInfo& info_of(Kind kind) {
    return kKinds[static_cast<size_t>(kind)];  // they stand in the order of Kind
}

std::optional<Object> decode_kind(const Cursor& root, const ObjectKey& key) {
    model::Meta meta = decode_meta(root, key);
    switch (key.kind) {
        case Kind::kNode:
            return decode_node(root, std::move(meta));
        case Kind::kNamespace:
            return decode_namespace(root, std::move(meta));
        case Kind::kPod:
            return decode_pod(root, std::move(meta));
        case Kind::kService:
            return decode_service(root, std::move(meta));
        case Kind::kEndpointSlice:
            if (auto slice = decode_endpoint_slice(root, std::move(meta))) return *std::move(slice);
            return std::nullopt;
        case Kind::kNetworkPolicy:
            return decode_network_policy(root, std::move(meta));
        case Kind::kServiceCidr:
            return decode_service_cidr(root, std::move(meta));
        case Kind::kClusterNetworkPolicy:
            return decode_cluster_network_policy(root, std::move(meta));
    }
    return std::nullopt;
}

std::optional<std::string_view> read_name(const Cursor& cursor) {
    const Cursor name = cursor["metadata"]["name"];
    if (!name.require()) return std::nullopt;
    const auto text = name.string();
    if (text && text->empty()) name.error("is required");
    return text && !text->empty() ? text : std::nullopt;
}

void check_duplicates(const Tree& tree, Tree::Index root, Report& report) {
    for (const Tree::Index twice : tree.duplicates()) {
        if (twice < root || twice >= tree.node(root).end) continue;
        report.add({tree.node(twice).line, tree.path(twice, root), "stands twice"});
    }
}

/// What an object says it is; inherited from the list it stands in where it says nothing.
struct TypeMeta {
    std::string_view api_version;
    std::string_view kind;
};

class Decoder {
  public:
    explicit Decoder(TextPool& pool) : pool_(pool) {}

    void document(const tl::expected<Tree, SyntaxError>& parsed) {
        if (parsed) return object(*parsed, 0, {});
        out_.unidentified = true;
        problem({.line = parsed.error().line, .message = parsed.error().message});
    }

    DecodedFile take() {
        if (dropped_ > 0) {
            out_.problems.push_back({.message = fmt::format("and {} more problems", dropped_)});
        }
        return std::move(out_);
    }

  private:
    void problem(Problem problem) {
        if (out_.problems.size() < DecodedFile::kMaxProblems) {
            out_.problems.push_back(std::move(problem));
        } else {
            ++dropped_;
        }
    }

    void problems(const std::string& object, Report& report) {
        for (auto& error : report.take()) {
            problem({.line = error.line,
                     .object = object,
                     .path = std::move(error.path),
                     .message = std::move(error.message)});
        }
    }

    void object(const Tree& tree, Tree::Index root, TypeMeta inherited) {
        Report report(pool_);
        const Cursor cursor(tree, root, report);
        if (cursor.type() != Tree::Type::kMapping) {
            cursor.error("is no Kubernetes object: a mapping with apiVersion and kind is needed");
            return unidentified(report);
        }
        const TypeMeta type = read_type(cursor, inherited);
        if (!report.ok()) return unidentified(report);
        if (type.kind.ends_with("List") && cursor["items"].present()) {
            return list(tree, cursor, type, report);
        }
        const auto name = read_name(cursor);
        if (!name) return unidentified(report, type.kind);
        identified(tree, root, cursor, type, *name, report);
    }

    static TypeMeta read_type(const Cursor& cursor, TypeMeta inherited) {
        const Cursor api_version = cursor["apiVersion"];
        const Cursor kind = cursor["kind"];
        if (inherited.kind.empty()) {
            api_version.require();
            kind.require();
        }
        return {api_version.string().value_or(inherited.api_version),
                kind.string().value_or(inherited.kind)};
    }

    void unidentified(Report& report, std::string_view kind = {}) {
        out_.unidentified = true;
        problems(std::string(kind), report);
    }

    void list(const Tree& tree, const Cursor& cursor, const TypeMeta& type, Report& report) {
        TypeMeta inherited;
        if (type.kind != "List") {
            inherited = {type.api_version, type.kind.substr(0, type.kind.size() - 4)};
        }
        for (const Cursor& item : cursor["items"].items()) {
            object(tree, item.index(), inherited);
        }
        if (!report.ok()) unidentified(report, type.kind);
    }

    void identified(const Tree& tree, Tree::Index root, const Cursor& cursor, const TypeMeta& type,
                    std::string_view name, Report& report) {
        const KindInfo* info = find_kind(type.kind);
        const bool cluster_scoped = info != nullptr && !info->namespaced;
        const Cursor ns = cursor["metadata"]["namespace"];
        model::ObjectName full{pool_.intern(ns.string().value_or("")), pool_.intern(name)};
        if (full.ns.empty() && !cluster_scoped) full.ns = pool_.intern("default");
        if (info == nullptr) return foreign(cursor, type, std::move(full), report);
        const ObjectKey key{info->kind, std::move(full)};
        if (type.api_version != info->api_version) {
            cursor["apiVersion"].error("\"{}\" is not read for {}; write \"{}\"", type.api_version,
                                       type.kind, info->api_version);
        }
        if (cluster_scoped && !key.name.ns.empty()) {
            ns.error("a {} has no namespace; remove it", type.kind);
        }
        check_duplicates(tree, root, report);
        auto decoded = decode_kind(cursor, key);
        if (!report.ok()) {
            out_.bad.push_back(key);
            return problems(key.to_string(), report);
        }
        if (decoded) keep(key, std::move(*decoded), cursor.line());
    }

    void keep(const ObjectKey& key, Object object, uint32_t line) {
        const auto [it, fresh] = lines_.emplace(key, line);
        if (fresh) {
            out_.objects.push_back({std::move(object), line});
            return;
        }
        problem({.line = line,
                 .object = key.to_string(),
                 .message = fmt::format("is defined in line {} already, which stays in force",
                                        it->second)});
    }

    void foreign(const Cursor& cursor, const TypeMeta& type, model::ObjectName name,
                 Report& report) {
        cursor["kind"].error(
            "\"{}\" of apiVersion \"{}\" is not read; the kinds are Node, Namespace, Pod, "
            "Service, EndpointSlice, NetworkPolicy, ServiceCIDR and ClusterNetworkPolicy",
            type.kind, type.api_version);
        problems(fmt::format("{} {}", type.kind, name.to_string()), report);
        out_.foreign.push_back({std::string(type.kind), std::move(name)});
    }

    TextPool& pool_;
    DecodedFile out_;
    std::unordered_map<ObjectKey, uint32_t> lines_;
    size_t dropped_ = 0;
};

}  // namespace

DecodedFile decode(std::string_view text, TextPool& pool) {
    Decoder decoder(pool);
    for_each_document(
        text, [&](const tl::expected<Tree, SyntaxError>& parsed) { decoder.document(parsed); });
    return decoder.take();
}

namespace {

/// A cluster's pods and nodes are many, their annotations long, and nobody here reads them, but for
/// the one that says whom a mirror is of.
void drop_unused(Object& object) {
    if (auto* const pod = std::get_if<model::Pod>(&object)) {
        const model::Text of(pod->meta.annotations.get(model::kMirrorAnnotation));
        pod->meta.annotations = {};
        if (!of.empty()) pod->meta.annotations.emplace(model::Text(model::kMirrorAnnotation), of);
    }
    if (auto* const node = std::get_if<model::Node>(&object)) node->meta.annotations = {};
}

}  // namespace

DecodedObject decode_object(const Tree& tree, Tree::Index root, Kind kind, TextPool& pool) {
    DecodedObject out;
    Report report(pool);
    const Cursor cursor(tree, root, report);
    const auto name = read_name(cursor);
    const std::string_view ns = cursor["metadata"]["namespace"].string().value_or("");
    if (name && ns.empty() == info_of(kind).namespaced) {
        cursor["metadata"]["namespace"].error("{}", ns.empty() ? "is required" : "must be absent");
    }
    if (name && report.ok()) {
        out.key = ObjectKey{kind, {pool.intern(ns), pool.intern(*name)}};
        check_duplicates(tree, root, report);
        out.object = decode_kind(cursor, *out.key);
        if (out.object) drop_unused(*out.object);
    }
    if (report.ok()) return out;
    out.object.reset();
    out.uid = cursor["metadata"]["uid"].text();
    out.errors = report.take();
    return out;
}

}  // namespace weir::kube
