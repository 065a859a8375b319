// SPDX-License-Identifier: Apache-2.0
// The socket hooks: sequences of calls of a few sockets, in and out of served namespaces, while
// backends leave and Services are given away.
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fuzzer/FuzzedDataProvider.h>

#include "native/host/object.h"
#include "native/world.h"

namespace weir::native {
namespace {

constexpr int kMaxCalls = 40;
constexpr uint64_t kSockets = 6;

enum class Call : uint8_t { kConnect, kSend, kReceive, kPeerName, kMaxValue = kPeerName };

struct Peer {
    weir_addr addr;
    uint16_t port;  ///< as in the packet
    bool operator==(const Peer& other) const {
        return std::memcmp(&addr, &other.addr, sizeof addr) == 0 && port == other.port;
    }
};

Object& hooks() {
    static Object& object = *[] {
        auto* made = new Object("sock");
        made->configure(world_config());
        return made;
    }();
    return object;
}

/// A hook's name for a call and the family of the socket.
std::string hook_name(Call call, bool v6) {
    static const char* const names[] = {"sock_connect", "sock_sendmsg", "sock_recvmsg",
                                        "sock_getpeername"};
    return names[static_cast<size_t>(call)] + std::string(v6 ? "6" : "4");
}

struct Outcome {
    int verdict;
    Peer peer;
};

Outcome call_hook(Call call, bool v6, uint32_t proto, const Peer& peer) {
    bpf_sock_addr context{};
    bpf_sock sock{};
    context.sk = &sock;
    context.protocol = proto;
    context.user_port = peer.port;
    context.user_ip4 = v6 ? 0 : peer.addr.w[3];
    if (v6) std::memcpy(context.user_ip6, &peer.addr, sizeof peer.addr);
    const int verdict = Machine::get().run(hooks().program(hook_name(call, v6)), &context);
    Outcome outcome{.verdict = verdict, .peer = peer};
    outcome.peer.port = static_cast<uint16_t>(context.user_port);
    if (context.user_port > UINT16_MAX) broken("a port of more than 16 bits");
    if (v6) {
        std::memcpy(&outcome.peer.addr, context.user_ip6, sizeof outcome.peer.addr);
        if (context.user_ip4 != 0) broken("an IPv6 hook wrote the IPv4 address");
    } else {
        outcome.peer.addr.w[3] = context.user_ip4;
        for (const uint32_t word : context.user_ip6) {
            if (word != 0) broken("an IPv4 hook wrote the IPv6 address");
        }
    }
    return outcome;
}

/// Is it the address and port of a backend in the tables?
bool is_backend(const Peer& peer, uint32_t proto) {
    Map& backends = *Machine::get().find("weir_backends");
    for (uint32_t id = 1; id < 100; id++) {
        const auto* backend = static_cast<const weir_backend*>(backends.lookup(&id));
        if (std::memcmp(&backend->addr, &peer.addr, sizeof peer.addr) == 0 &&
            backend->port == peer.port && backend->proto == proto) {
            return true;
        }
    }
    return false;
}

size_t remembered() {
    return Machine::get().find("weir_socks")->keys().size();
}

bool is_mapped(const weir_addr& addr) {
    return addr.w[0] == 0 && addr.w[1] == 0 && addr.w[2] == htonl(0xffff);
}

/// tc asks for elements of marked sockets only.
void check_marks() {
    Map& marks = *Machine::get().find("weir_sock_marks");
    for (const std::string& bytes : Machine::get().find("weir_socks")->keys()) {
        weir_sock_key key;
        std::memcpy(&key, bytes.data(), sizeof key);
        const uint32_t row = WEIR_SOCK_MARK_ROW(key.cookie);
        const uint32_t index = row & (WEIR_SOCK_MARK_WORDS - 1);
        const auto word = *static_cast<const uint64_t*>(marks.lookup(&index));
        const auto newer = static_cast<int32_t>(static_cast<uint32_t>(word >> 32) - row);
        const bool marked = (word & WEIR_SOCK_MARK_BIT(key.cookie)) != 0;
        if (newer < 0 || (newer == 0 && !marked)) broken("a socket in the table has no mark");
    }
}

void check(Call call, const Peer& before, const Outcome& after, uint32_t proto, size_t known) {
    const bool changed = !(after.peer == before);
    const bool forward = call == Call::kConnect || call == Call::kSend;
    if (after.verdict != 0 && after.verdict != 1) broken("a verdict that is neither 0 nor 1");
    if (after.verdict == 0 && !forward) broken("recvmsg or getpeername failed a call");
    // Source ranges that do not admit the host; a pod's packets are left to tc.
    const bool not_admitted =
        Machine::get().retval == -EPERM && Machine::get().netns_cookie == kHostNetns;
    if (after.verdict == 0 && Machine::get().retval != -ECONNREFUSED && !not_admitted)
        broken("refused without reason");
    if (after.verdict == 0 && changed) broken("a refused call was rewritten");
    if (after.verdict == 1 && Machine::get().retval != 0) broken("an error on a call that goes on");
    if (is_mapped(after.peer.addr) != is_mapped(before.addr)) broken("the family changed");
    if (forward && changed && !is_backend(after.peer, proto)) broken("sent to what is no backend");
    if (!forward && remembered() != known) broken("recvmsg or getpeername wrote something");
    if (Machine::get().netns_cookie > kPodNetns && forward && (changed || after.verdict == 0)) {
        broken("a namespace that is not served was served");
    }
}

/// What the agent does meanwhile.
void disturb(FuzzedDataProvider& input) {
    const uint32_t index = input.ConsumeIntegralInRange<uint32_t>(1, 24);
    Map& services = *Machine::get().find("weir_services");
    Map& backends = *Machine::get().find("weir_backends");
    auto* service = static_cast<weir_service*>(services.lookup(&index));
    auto* backend = static_cast<weir_backend*>(backends.lookup(&index));
    switch (input.ConsumeIntegralInRange(0, 3)) {
        case 0:
            service->generation++;
            break;
        case 1:
            service->extent[WEIR_SCOPE_CLUSTER] = WEIR_EXTENT(0, 0, 0);
            break;
        case 2:
            service->extent[WEIR_SCOPE_CLUSTER] = input.ConsumeIntegral<uint64_t>();
            break;
        default:
            backend->state =
                input.ConsumeIntegralInRange<uint8_t>(WEIR_BACKEND_FREE, WEIR_BACKEND_GONE);
            break;
    }
}

/// Neighbours, those that share a word of marks with a later row, and one from the end.
uint64_t some_cookie(uint64_t number) {
    if (number == kSockets - 1) return UINT64_MAX;
    return 40 + number % 2 + number / 2 * 32 * WEIR_SOCK_MARK_WORDS;
}

void one_call(FuzzedDataProvider& input, std::optional<Peer>& last) {
    const auto call = input.ConsumeEnum<Call>();
    const uint8_t where = input.ConsumeIntegral<uint8_t>();
    const bool v6_socket = (where & 1) != 0;
    const bool v6 = v6_socket && (where & 2) != 0;
    Machine::get().netns_cookie = 1 + (where >> 2) % 4;
    Machine::get().socket_cookie = some_cookie((where >> 4) % kSockets);
    const uint32_t proto =
        input.PickValueInArray<uint32_t>({IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 262});
    Peer peer{.addr = some_address(input.ConsumeIntegral<uint8_t>(), v6),
              .port = htons(input.PickValueInArray<uint16_t>({80, 8080, 30080, 1, 0}))};
    if (last && input.ConsumeBool() && (v6_socket || is_mapped(last->addr))) peer = *last;
    const size_t known = remembered();
    const Outcome outcome = call_hook(call, v6_socket, proto, peer);
    check(call, peer, outcome, proto, known);
    check_marks();
    last = outcome.peer;
}

}  // namespace
}  // namespace weir::native

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weir::native;
    hooks();
    fill_world();
    FuzzedDataProvider input(data, size);
    Machine::get().seed(input.ConsumeIntegral<uint32_t>());
    std::optional<Peer> last;
    for (int i = 0; i < kMaxCalls && input.remaining_bytes() > 0; i++) {
        if (input.ConsumeIntegral<uint8_t>() > 224) {
            disturb(input);
        } else {
            one_call(input, last);
        }
    }
    return 0;
}
