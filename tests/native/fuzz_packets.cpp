// SPDX-License-Identifier: Apache-2.0
// The tc programs: short conversations, whole and broken packets, through the hooks named by
// WEIR_FUZZ_HOOKS, with every stage they jump to. After each packet a few things must be so.
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>

#include <fuzzer/FuzzedDataProvider.h>

#include "native/host/object.h"
#include "native/host/skb.h"
#include "native/packet.h"
#include "native/world.h"
#include "weir/limits.h"

namespace weir::native {
namespace {

constexpr int kMaxPackets = 16;
constexpr size_t kMaxRaw = 256;
constexpr std::array kHookNames = {"pod_from", "pod_to", "dev_in", "dev_out"};
constexpr std::array kHooks = {WEIR_FUZZ_HOOKS};
constexpr std::array<uint32_t, 4> kInterfaces = {11, 12, 2, 3};

struct StageName {
    weir_stage stage;
    const char* suffix;
    bool every_hook;
};
constexpr std::array kStages = {StageName{WEIR_STAGE_NEW_FLOW, "_new_flow", true},
                                StageName{WEIR_STAGE_ICMP_ERROR, "_icmp_error", true},
                                StageName{WEIR_STAGE_REJECT, "_reject", false},
                                StageName{WEIR_STAGE_FRAGMENT, "_fragment", true},
                                StageName{WEIR_STAGE_NEIGHBOUR, "_neighbour", false}};

/// The entry of each hook; its stages are in the program array.
class Programs {
  public:
    Programs() : pod_("pod"), host_("host") {
        for (Object* object : {&pod_, &host_})
            object->configure(world_config());
        auto& array = dynamic_cast<PointerMap&>(*Machine::get().find("weir_progs"));
        for (uint32_t hook = 0; hook < WEIR_HOOK_COUNT; hook++) {
            const Object& object = hook < WEIR_HOOK_DEV_IN ? pod_ : host_;
            entries_[hook] = object.program(kHookNames[hook]);
            for (const StageName& stage : kStages) {
                auto program = object.find_program(kHookNames[hook] + std::string(stage.suffix));
                if (program == nullptr) {
                    if (stage.every_hook) broken(kHookNames[hook] + std::string(" lacks a stage"));
                    continue;
                }
                array.set(WEIR_STAGE_SLOT(0, hook, stage.stage), reinterpret_cast<void*>(program));
            }
        }
        start_sweep();
    }
    [[nodiscard]] Machine::Program entry(uint32_t hook) const { return entries_.at(hook); }

  private:
    void start_sweep() const {
        __sk_buff context{};
        if (Machine::get().run(host_.program("sweep_start"), &context) != 0) {
            broken("the sweep does not start");
        }
    }

    Object pod_;
    Object host_;
    std::array<Machine::Program, WEIR_HOOK_COUNT> entries_{};
};

Programs& programs() {
    static Programs& all = *new Programs;
    return all;
}

uint64_t drops() {
    uint64_t total = 0;
    Map& map = *Machine::get().find("weir_drops");
    for (uint32_t i = 0; i < uint32_t{WEIR_DROP_REASONS} * uint32_t{WEIR_DIRECTIONS}; i++) {
        total += static_cast<const weir_count*>(map.lookup(&i))->packets;
    }
    return total;
}

bool same(const weir_addr& a, const weir_addr& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

bool in_service_range(const weir_addr& address) {
    const weir_addr v4 = native::address("10.96.0.0");
    const weir_addr v6 = native::address("fd00:10:96::");
    const auto* bytes = reinterpret_cast<const uint8_t*>(&address);
    return std::memcmp(bytes, &v4, 14) == 0 || std::memcmp(bytes, &v6, 14) == 0;
}

struct Run {
    uint32_t hook = 0;
    uint32_t ifindex = 0;
    Packet before;
    Packet after;
    int verdict = 0;
    uint64_t drops = 0;
};

/// Shown when an invariant is broken, for the person who reads it.
void show(const Run& run) {
    std::fprintf(stderr, "hook %s, interface %u, verdict %d\n", kHookNames[run.hook], run.ifindex,
                 run.verdict);
    for (const Packet* packet : {&run.before, &run.after}) {
        std::fprintf(stderr, packet == &run.before ? "before:" : "after: ");
        for (const uint8_t byte : *packet)
            std::fprintf(stderr, " %02x", byte);
        std::fprintf(stderr, "\n");
    }
}

/// What must be so of every packet.
void check_verdict(const Run& run) {
    const Redirect& redirect = Machine::get().redirect;
    switch (run.verdict) {
        case TC_ACT_SHOT:
            if (run.drops != 1) broken(std::to_string(run.drops) + " reasons for one drop");
            break;
        case TC_ACT_REDIRECT: {
            const uint32_t to = redirect.ifindex;
            if (redirect.kind == Redirect::Kind::kNone) broken("redirected nowhere");
            if (to != 1 && to != 2 && to != 3 && to != 11 && to != 12) {
                broken("redirected to interface " + std::to_string(to));
            }
            if (run.drops > 1) broken("more than one reason for an answer");
            break;
        }
        case TC_ACT_OK:
        case TC_ACT_UNSPEC:
            if (run.drops != 0) broken("counted as a drop, and passed");
            break;
        default:
            broken("verdict " + std::to_string(run.verdict));
    }
}

/// What must be so of packets that go on.
void check_packet(const Run& run) {
    if (run.verdict == TC_ACT_SHOT) return;
    const auto before = tuple_of(run.before);
    const auto after = tuple_of(run.after);
    if (judge_checksums(run.before) == Checksums::kGood &&
        judge_checksums(run.after) == Checksums::kBad) {
        broken("a right checksum became a wrong one");
    }
    if (run.hook != WEIR_HOOK_POD_FROM || !before || !after) return;
    const size_t pod = run.ifindex == 11 ? 0 : 1;
    const bool own = same(before->saddr, some_address(static_cast<uint8_t>(pod), false)) ||
                     same(before->saddr, some_address(static_cast<uint8_t>(pod), true));
    if (!own) broken("a pod sent from an address that is not its own");
    if (in_service_range(after->daddr)) broken("a packet to a Service went on untranslated");
}

void check_events() {
    for (const std::string& record :
         dynamic_cast<RingMap&>(*Machine::get().find("weir_events")).take()) {
        weir_event event{};
        if (record.size() != sizeof event) broken("an event of the wrong size");
        std::memcpy(&event, record.data(), sizeof event);
        if (event.type < WEIR_EVENT_FLOW_NEW || event.type > WEIR_EVENT_DROP) {
            broken("an event of an unknown type");
        }
        if (event.type == WEIR_EVENT_DROP && event.reason >= WEIR_DROP_REASONS) {
            broken("a drop without a known reason");
        }
    }
}

Run run_packet(FuzzedDataProvider& input, uint32_t hook, const Packet& packet) {
    const size_t linear = input.PickValueInArray<size_t>({SIZE_MAX, SIZE_MAX, 14, 34, 54, 66, 100});
    Skb skb(packet, linear);
    __sk_buff& context = *skb.context();
    Run run;
    run.hook = hook;
    run.before = packet;
    run.ifindex = hook <= WEIR_HOOK_POD_TO   ? kInterfaces[input.ConsumeIntegralInRange(0, 1)]
                  : hook == WEIR_HOOK_DEV_IN ? 2
                                             : input.PickValueInArray<uint32_t>({1, 2, 3});
    context.ifindex = run.ifindex;
    context.ingress_ifindex = input.PickValueInArray<uint32_t>({0, 2, 11});
    context.tc_classid = hook <= WEIR_HOOK_POD_TO && input.ConsumeBool() ? run.ifindex - 10 : 0;
    context.protocol =
        packet.size() < ETH_HLEN ? 0 : static_cast<uint32_t>(packet[12] | packet[13] << 8);
    if (input.ConsumeIntegral<uint8_t>() > 240) context.mark = WEIR_MARK_DELIVERED;
    const uint64_t drops_before = drops();
    run.verdict = Machine::get().run(programs().entry(hook), &context);
    run.drops = drops() - drops_before;
    run.after = skb.bytes();
    return run;
}

Packet built_packet(FuzzedDataProvider& input, const Packet& last) {
    PacketShape shape;
    const auto bits = input.ConsumeIntegral<uint8_t>();
    shape.v6 = (bits & 1) != 0;
    shape.options = (bits & 6) == 6 ? 2 : 0;
    shape.no_udp_checksum = (bits & 24) == 24;
    shape.proto =
        input.PickValueInArray<uint8_t>({IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP,
                                         IPPROTO_SCTP, IPPROTO_ICMP, IPPROTO_ICMPV6, 89});
    const auto ends = input.ConsumeIntegral<uint8_t>();
    shape.saddr = some_address(ends >> 4, shape.v6);
    shape.daddr = some_address(ends & 15, shape.v6);
    shape.sport = input.PickValueInArray<uint16_t>({40000, 40001, 8080, 80, 45056, 0});
    shape.dport = input.PickValueInArray<uint16_t>({80, 8080, 30080, 40000, 45056, 45060, 53});
    shape.tcp_flags = input.PickValueInArray<uint8_t>({0x02, 0x10, 0x12, 0x11, 0x04, 0x14, 0xff});
    shape.icmp_type =
        input.PickValueInArray<uint8_t>({8, 0, 3, 11, 128, 129, 1, 2, 3, 133, 135, 136});
    if ((bits & 0xe0) == 0xe0) {
        shape.fragment =
            input.PickValueInArray<uint16_t>({0x2000, 0x0001, 0x2001, 0x00b9, 0x00b8, 0x4000});
        shape.fragment_id = input.ConsumeIntegralInRange<uint32_t>(1, 2);
    }
    shape.hop_limit = input.PickValueInArray<uint8_t>({64, 64, 1, 0, 255});
    const bool icmp = shape.proto == IPPROTO_ICMP || shape.proto == IPPROTO_ICMPV6;
    if (icmp && last.size() > ETH_HLEN) {
        shape.payload.assign(last.begin() + ETH_HLEN,
                             last.end());  // an error about the last packet
        shape.payload.resize(std::min<size_t>(shape.payload.size(), 128));
    } else {
        shape.payload.resize(input.PickValueInArray<size_t>({0, 1, 2, 11, 100, 1450}), 0x5a);
    }
    return make_packet(shape);
}

Packet next_packet(FuzzedDataProvider& input, const Packet& last) {
    Packet packet;
    switch (input.ConsumeIntegralInRange(0, 9)) {
        case 0:
            packet = input.ConsumeBytes<uint8_t>(input.ConsumeIntegralInRange<size_t>(0, kMaxRaw));
            break;
        case 1:
            packet = turned_round(last);
            break;
        case 2:
            packet = last;
            break;
        case 3: {
            const auto ends = input.ConsumeIntegral<uint8_t>();
            packet = make_arp(input.ConsumeIntegralInRange<uint16_t>(0, 2),
                              input.ConsumeIntegralInRange<uint8_t>(1, 2),
                              some_address(ends >> 4, false), some_address(ends & 15, false));
            break;
        }
        default:
            packet = built_packet(input, last);
    }
    if (!packet.empty() && input.ConsumeIntegral<uint8_t>() > 224) {
        packet[input.ConsumeIntegralInRange<size_t>(0, packet.size() - 1)] ^=
            input.ConsumeIntegral<uint8_t>();
    }
    if (input.ConsumeIntegral<uint8_t>() > 248) {
        packet.resize(input.ConsumeIntegralInRange<size_t>(0, packet.size()));
    }
    if (packet.size() < ETH_HLEN) packet.resize(ETH_HLEN);  // a device delivers no less
    return packet;
}

long route(bpf_fib_lookup& params, uint8_t mood) {
    if (mood > 240) return BPF_FIB_LKUP_RET_NOT_FWDED;
    if (mood > 224) return BPF_FIB_LKUP_RET_UNREACHABLE;
    params.ifindex = 2;
    std::memset(params.smac, 0x0a, sizeof params.smac);
    std::memset(params.dmac, 0x0b, sizeof params.dmac);
    return mood > 192 ? BPF_FIB_LKUP_RET_NO_NEIGH : BPF_FIB_LKUP_RET_SUCCESS;
}

/// Lets the in-kernel timer fire, as it would ten times a second.
void sweep(int times) {
    using Callback = int (*)(const void* map, void* key, void* value);
    uint32_t zero = 0;
    for (int i = 0; i < times; i++) {
        for (auto& [timer, state] : Machine::get().timers) {
            void* value = Machine::get().map(state.map).lookup(&zero);
            reinterpret_cast<Callback>(state.callback)(state.map, &zero, value);
        }
    }
}

}  // namespace
}  // namespace weir::native

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weir::native;
    programs();
    fill_world();
    FuzzedDataProvider input(data, size);
    Machine& machine = Machine::get();
    machine.seed(input.ConsumeIntegral<uint16_t>());
    machine.now_ns = uint64_t{1000} << WEIR_TICK_SHIFT;
    const auto mood = input.ConsumeIntegral<uint8_t>();
    machine.route = [mood](bpf_fib_lookup& params, uint32_t) { return route(params, mood); };
    Packet last;
    for (int i = 0; i < kMaxPackets && input.remaining_bytes() > 0; i++) {
        const uint32_t hook = kHooks[input.ConsumeIntegralInRange<size_t>(0, kHooks.size() - 1)];
        const Packet packet = next_packet(input, last);
        // Nobody but a pod, who may try anything, sends from the address of a Service.
        const auto source = source_of(packet);
        if (hook != WEIR_HOOK_POD_FROM && source && in_service_range(*source)) continue;
        Run run = run_packet(input, hook, packet);
        if (std::getenv("WEIR_FUZZ_SHOW") != nullptr) show(run);
        check_verdict(run);
        check_packet(run);
        check_events();
        const auto pause = input.ConsumeIntegral<uint8_t>();
        if (pause > 200) machine.now_ns += uint64_t{1} << (WEIR_TICK_SHIFT + (pause & 7U));
        if (pause > 248) sweep(2 * WEIR_CT_SHARDS);
        last = std::move(run.after);
    }
    check_counts();
    return 0;
}
