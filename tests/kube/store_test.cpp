// SPDX-License-Identifier: Apache-2.0
#include "kube/store.h"

#include <gtest/gtest.h>

namespace weir::kube {
namespace {

model::Service service(std::string_view name, uint16_t port = 80) {
    model::Service out;
    out.meta.name = {"shop", name};
    out.ports.push_back({.port = port, .target = {port, {}}});
    return out;
}

model::EndpointSlice slice(std::string_view name, std::string_view of) {
    model::EndpointSlice out;
    out.meta.name = {"shop", name};
    out.service = {"shop", of};
    return out;
}

model::Pod pod(std::string_view name, std::string_view ip) {
    model::Pod out;
    out.meta.name = {"shop", name};
    out.ips = {IpAddress::parse(ip).value()};
    return out;
}

const model::ObjectName kWeb{"shop", "web"};
const ObjectKey kWebKey{Kind::kService, kWeb};

class StoreTest : public testing::Test {
  protected:
    StoreTest() {
        store_.subscribe([this](const Delta& delta) { deltas_.push_back(delta); });
    }
    Delta publish() {
        deltas_.clear();
        store_.publish();
        EXPECT_LE(deltas_.size(), 1U);
        return deltas_.empty() ? Delta() : deltas_[0];
    }
    uint16_t web_port() { return store_.find<model::Service>(kWeb)->ports[0].port; }

    Store store_;
    std::vector<Delta> deltas_;
    SourceId a_ = store_.add_source(0, "/objects/a.yaml");
    SourceId b_ = store_.add_source(0, "/objects/b.yaml");
};

TEST_F(StoreTest, TellsWhatChangedAndOnlyThat) {
    store_.put(a_, service("web"), 3);
    EXPECT_EQ(publish().of(Kind::kService), NameSet{kWeb});
    EXPECT_EQ(store_.origin(kWebKey), (Origin{a_, 3}));
    store_.put(a_, service("web"), 9);
    EXPECT_TRUE(publish().empty()) << "the same object further down";
    EXPECT_EQ(store_.origin(kWebKey)->line, 9U);
    store_.put(a_, service("web", 81));
    EXPECT_EQ(publish().of(Kind::kService), NameSet{kWeb});
    store_.withdraw(a_, kWebKey);
    EXPECT_EQ(publish().of(Kind::kService), NameSet{kWeb});
    EXPECT_EQ(store_.find<model::Service>(kWeb), nullptr);
    store_.withdraw(a_, kWebKey);
    EXPECT_TRUE(publish().empty());
}

TEST_F(StoreTest, TheFirstSourceWinsWhateverTheOrder) {
    for (const bool a_first : {true, false}) {
        store_.put(a_first ? a_ : b_, service("web", a_first ? 1 : 2));
        store_.put(a_first ? b_ : a_, service("web", a_first ? 2 : 1));
        EXPECT_EQ(web_port(), 1);
        const auto conflicts = store_.conflicts();
        ASSERT_EQ(conflicts.size(), 1U);
        EXPECT_EQ(conflicts[0].key, kWebKey);
        EXPECT_EQ(store_.label(conflicts[0].used.source), "/objects/a.yaml");
        EXPECT_EQ(store_.label(conflicts[0].ignored.source), "/objects/b.yaml");
        store_.withdraw(a_, kWebKey);
        store_.withdraw(b_, kWebKey);
        EXPECT_TRUE(store_.conflicts().empty());
        EXPECT_EQ(store_.count<model::Service>(), 0U);
    }
}

TEST_F(StoreTest, ALowerRankWinsOverAnyLabel) {
    const SourceId last = store_.add_source(1, "/a");
    store_.put(last, service("web", 3));
    store_.put(b_, service("web", 2));
    EXPECT_EQ(web_port(), 2);
}

TEST_F(StoreTest, TheNextInLineTakesOver) {
    const SourceId c = store_.add_source(0, "/objects/c.yaml");
    store_.put(c, service("web", 3));
    store_.put(a_, service("web", 1));
    store_.put(b_, service("web", 2));
    (void)publish();
    store_.put(b_, service("web", 22));  // one that stands by changes
    EXPECT_TRUE(publish().empty());
    store_.remove_source(a_);
    EXPECT_EQ(web_port(), 22);
    EXPECT_EQ(publish().of(Kind::kService), NameSet{kWeb});
    store_.withdraw(c, kWebKey);
    EXPECT_TRUE(publish().empty()) << "it stood by";
    store_.withdraw(b_, kWebKey);
    EXPECT_EQ(store_.count<model::Service>(), 0U);
}

TEST_F(StoreTest, SlicesAreFoundByServiceAlsoAfterTheyMoved) {
    store_.put(a_, slice("web-1", "web"));
    store_.put(b_, slice("web-2", "web"));
    (void)publish();
    EXPECT_EQ(store_.slices_of(kWeb).size(), 2U);
    store_.put(b_, slice("web-2", "api"));
    EXPECT_EQ(publish().endpoints, (NameSet{kWeb, {"shop", "api"}}));
    EXPECT_EQ(store_.slices_of(kWeb).size(), 1U);
    EXPECT_EQ(store_.slices_of({"shop", "api"}).size(), 1U);
    store_.remove_source(a_);
    EXPECT_EQ(publish().endpoints, NameSet{kWeb});
    EXPECT_TRUE(store_.slices_of(kWeb).empty());
}

TEST_F(StoreTest, AnAddressIsOfThePodThatHasItNow) {
    const IpAddress ip = IpAddress::parse("10.0.0.1").value();
    model::Pod old = pod("old", "10.0.0.1");
    old.meta.created = "2024-01-01T00:00:00Z";
    store_.put(a_, old);
    EXPECT_EQ(store_.pod_by_ip(ip)->meta.name.name, "old");
    model::Pod young = pod("young", "10.0.0.1");
    young.meta.created = "2024-01-02T00:00:00Z";
    store_.put(a_, young);
    EXPECT_EQ(store_.pod_by_ip(ip)->meta.name.name, "young");
    young.meta.deleting = true;
    store_.put(a_, young);
    EXPECT_EQ(store_.pod_by_ip(ip)->meta.name.name, "old");
    old.phase = model::PodPhase::kSucceeded;
    store_.put(a_, old);
    EXPECT_EQ(store_.pod_by_ip(ip)->meta.name.name, "young");
    young.host_network = true;
    store_.put(a_, young);
    EXPECT_EQ(store_.pod_by_ip(ip), nullptr);
    store_.remove_source(a_);
    EXPECT_EQ(store_.pod_by_ip(ip), nullptr);
}

}  // namespace
}  // namespace weir::kube
