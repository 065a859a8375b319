// SPDX-License-Identifier: Apache-2.0
#include "cni/bare.h"

#include <barrier>
#include <chrono>
#include <thread>

#include "datapath/netlink/requests.h"
#include "must.h"

namespace weir::bench {

using namespace weir::netlink;
using Clock = std::chrono::steady_clock;

PodLinkSpec pod_spec(unsigned n) {
    PodLinkSpec spec;
    spec.container_id = fmt::format("{:064x}", n);
    spec.host_ifname = pod_host_ifname(spec.container_id, "eth0", fmt::format("web-{}", n));
    spec.alias = fmt::format("shop/web-{} eth0", n);
    spec.addresses[0] = PodAddress{must(IpAddress::parse(fmt::format("10.244.1.{}", n))),
                                   must(IpAddress::parse("169.254.1.1"))};
    spec.addresses[1] = PodAddress{must(IpAddress::parse(fmt::format("fd00:10:244:1::{:x}", n))),
                                   must(IpAddress::parse("fe80::ecee:eeff:feee:eeee"))};
    spec.host_mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
    spec.pod_mac = pod_mac(spec.container_id, "eth0");
    spec.endpoint = n;
    return spec;
}

Result<void> create_bare(const HomeNetNs& home, const NetNs& ns, const PodLinkSpec& spec) {
    Socket pod = WEIR_TRY(home.open_socket(ns));
    Socket host = WEIR_TRY(Socket::open());
    const VethEnd ours{spec.host_ifname, spec.host_mac, spec.mtu, std::nullopt};
    const VethEnd theirs{spec.ifname, spec.pod_mac, spec.mtu, ns.fd()};
    WEIR_CHECK(host.run(new_veth(ours, theirs)));
    LinkChange up;
    up.up = true;
    WEIR_CHECK(host.run(set_link(WEIR_TRY(host.ifindex(spec.host_ifname)), up, "up")));
    const uint32_t ifindex = WEIR_TRY(pod.ifindex(spec.ifname));
    Message requests[] = {set_link(ifindex, up, "up"),
                          put_address(ifindex, spec.addresses[0]->address),
                          put_address(ifindex, spec.addresses[1]->address)};
    return pod.run(requests);
}

std::vector<double> burst(size_t count, const std::function<void(size_t)>& call) {
    std::vector<double> took(count);
    std::barrier start(static_cast<ptrdiff_t>(count));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; i++) {
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            const auto begin = Clock::now();
            call(i);
            took[i] = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    return took;
}

}  // namespace weir::bench
