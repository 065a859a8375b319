// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "kube/endpoint_controller.h"
#include "kube/file_source.h"
#include "kube/temp_tree.h"

/// After any sequence of edits, what was followed equals what a new reader finds.
namespace weir::kube {
namespace {

namespace fs = std::filesystem;

class Follower {
  public:
    explicit Follower(const std::vector<fs::path>& directories)
        : source_(FileSource::open(store_, directories).value()) {
        store_.subscribe([this](const Delta& delta) { remember(delta); });
        publish();
    }
    void settle() {
        // Longer than the source gathers a burst for.
        constexpr int kQuietMs = 8;
        pollfd waiting{.fd = source_.fd(), .events = POLLIN, .revents = 0};
        while (::poll(&waiting, 1, kQuietMs) > 0) {
            RC_ASSERT(source_.on_readable().has_value());
            publish();
        }
    }
    [[nodiscard]] std::map<ObjectKey, Object> objects() const {
        std::map<ObjectKey, Object> all;
        const auto add = [&all](const auto& object) {
            all.emplace(key_of(Object(object)), Object(object));
        };
        store_.for_each<model::Node>(add);
        store_.for_each<model::Namespace>(add);
        store_.for_each<model::Pod>(add);
        store_.for_each<model::Service>(add);
        store_.for_each<model::EndpointSlice>(add);
        store_.for_each<model::NetworkPolicy>(add);
        store_.for_each<model::ClusterNetworkPolicy>(add);
        return all;
    }
    /// What a subscriber knows that looks only at what it is told of.
    [[nodiscard]] const std::map<ObjectKey, Object>& told() const { return told_; }
    [[nodiscard]] std::vector<std::string> problems() const {
        std::vector<std::string> all;
        for (const auto& problem : source_.problems())
            all.push_back(problem.to_string());
        return all;
    }
    [[nodiscard]] std::set<model::ObjectName> slices_of(const model::ObjectName& service) const {
        std::set<model::ObjectName> names;
        for (const auto* slice : store_.slices_of(service))
            names.insert(slice->meta.name);
        return names;
    }

  private:
    void publish() {
        controller_.update();
        store_.publish();
    }
    template <typename T>
    void remember_kind(const Delta& delta) {
        for (const auto& name : delta.of(kKindOf<T>)) {
            told_.erase({kKindOf<T>, name});
            if (const T* object = store_.find<T>(name))
                told_.emplace(ObjectKey{kKindOf<T>, name}, *object);
        }
    }
    void remember(const Delta& delta) {
        remember_kind<model::Node>(delta);
        remember_kind<model::Namespace>(delta);
        remember_kind<model::Pod>(delta);
        remember_kind<model::Service>(delta);
        remember_kind<model::EndpointSlice>(delta);
        remember_kind<model::NetworkPolicy>(delta);
        remember_kind<model::ClusterNetworkPolicy>(delta);
    }

    Store store_;
    EndpointController controller_{store_};
    std::map<ObjectKey, Object> told_;
    FileSource source_;
};

/// Evenly, whatever the size that the property is at: small sequences find nothing here.
int number(int low, int end) {
    return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(low, end));
}

std::string pick(const std::vector<std::string>& words) {
    return *rc::gen::elementOf(words);
}

std::string random_labels() {
    return fmt::format("{{app: {}, tier: {}}}", pick({"web", "api"}), pick({"front", "back"}));
}

std::string random_service() {
    return fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: {}}}\n"
        "spec: {{clusterIP: 10.96.0.{}, selector: {}, ports: [{{port: 80, targetPort: {}}}]}}\n",
        pick({"web", "api"}), pick({"shop", "shop", "shop", "bank"}), number(1, 4),
        pick({"{app: web}", "{app: api, tier: back}", "{tier: front}", "{}"}),
        pick({"80", "http"}));
}

std::string random_pod() {
    return fmt::format(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{}, namespace: {}, labels: {}}}\n"
        "spec: {{nodeName: {}, containers: [{{ports: [{{name: http, containerPort: {}}}]}}]}}\n"
        "status: {{phase: {}, podIP: 10.0.0.{}, conditions: [{{type: Ready, status: '{}'}}]}}\n",
        number(1, 5), pick({"shop", "shop", "shop", "bank"}), random_labels(),
        pick({"node-1", "node-2"}), pick({"8080", "9090"}), pick({"Running", "Running", "Failed"}),
        number(1, 9), pick({"True", "False"}));
}

std::string random_slice() {
    return fmt::format(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        "metadata: {{name: s{}, namespace: shop, labels: {{kubernetes.io/service-name: {}}}}}\n"
        "ports: [{{port: 80}}]\nendpoints: [{{addresses: [10.9.0.{}]}}]\n",
        number(1, 3), pick({"web", "api"}), number(1, 4));
}

std::string random_node() {
    return fmt::format(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {}, labels: {{topology.kubernetes.io/zone: "
        "{}}}}}\n",
        pick({"node-1", "node-2"}), pick({"a", "b"}));
}

std::string random_documents(bool may_be_bad) {
    std::string text;
    const int count = number(0, 6);
    // Often pods alone, so that Services stay while what they select changes.
    const bool only_pods = *rc::gen::arbitrary<bool>();
    for (int i = 0; i < count; ++i) {
        switch (only_pods ? 2 : number(0, may_be_bad ? 9 : 7)) {
            case 0:
            case 1:
                text += "---\n" + random_service();
                break;
            case 2:
            case 3:
            case 4:
                text += "---\n" + random_pod();
                break;
            case 5:
                text += "---\n" + random_slice();
                break;
            case 6:
                text += "---\n" + random_node();
                break;
            case 7:
                text += "---\n{broken: [\n";
                break;
            default:
                text += "---\n" + random_service() + "kind: [no\n";
        }
    }
    return text;
}

std::string random_file() {
    return pick({"d/a.yaml", "d/b.yaml", "e/a.yaml"});
}

/// Every way in which files come and go.
void edit(const TempTree& tree, bool may_be_bad) {
    const std::string file = random_file();
    const fs::path directory = tree.path(file).parent_path();
    fs::create_directories(directory);
    std::error_code ignored;
    switch (number(0, 9)) {
        case 0:
            fs::remove(tree.path(file), ignored);
            break;
        case 1:
            fs::rename(tree.path(file), tree.path(random_file()), ignored);
            break;
        case 2:
            fs::remove_all(directory);
            break;
        case 3: {
            fs::rename(directory, tree.path("away"));
            fs::create_directory(directory);
            tree.write(file, random_documents(may_be_bad));
            fs::remove_all(tree.path("away"));
            break;
        }
        case 4:
        case 5:
            tree.replace(file, random_documents(may_be_bad));
            break;
        default:
            tree.write(file, random_documents(may_be_bad));
    }
}

RC_GTEST_PROP(Incremental, EqualsFromScratchAfterAnyEdits, ()) {
    const TempTree tree;
    const std::vector<fs::path> directories = {tree.path("d"), tree.path("e")};
    for (const auto& directory : directories)
        fs::create_directory(directory);
    tree.write("e/a.yaml", random_service() + "---\n" + random_service());
    tree.write("d/a.yaml", random_pod() + "---\n" + random_pod() + "---\n" + random_pod());
    Follower follower(directories);
    const int edits = number(1, 12);
    const bool may_be_bad = *rc::gen::arbitrary<bool>();
    for (int i = 0; i < edits; ++i) {
        edit(tree, may_be_bad);
        if (*rc::gen::arbitrary<bool>()) follower.settle();
    }
    for (const auto& directory : directories)
        fs::create_directories(directory);
    // What is broken leaves a history behind, on purpose; mended, there must be none.
    if (may_be_bad) {
        for (const char* file : {"d/a.yaml", "d/b.yaml", "e/a.yaml"}) {
            tree.write(file, random_documents(false));
            if (*rc::gen::arbitrary<bool>()) follower.settle();
        }
    }
    follower.settle();
    const Follower fresh(directories);
    RC_ASSERT(follower.objects() == fresh.objects());
    RC_ASSERT(follower.told() == follower.objects());
    RC_ASSERT(follower.problems() == fresh.problems());
    for (const char* name : {"web", "api"}) {
        for (const char* ns : {"shop", "bank"}) {
            RC_ASSERT(follower.slices_of({ns, name}) == fresh.slices_of({ns, name}));
        }
    }
}

}  // namespace
}  // namespace weir::kube
