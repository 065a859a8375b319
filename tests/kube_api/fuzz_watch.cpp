// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "kube/api/wire.h"

using namespace weir::kube;       // NOLINT(google-build-using-namespace)
using namespace weir::kube::api;  // NOLINT(google-build-using-namespace)

/// Any bytes as the body of a watch, a list and a status: no crash, and an object is told only with
/// a name and without mistakes. The first byte says of which kind and in which encoding.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const auto kind = static_cast<Kind>((data[0] & 0x7f) % kKindCount);
    const Encoding encoding = (data[0] & 0x80) != 0 ? Encoding::kJson : Encoding::kProtobuf;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    weir::kube::TextPool pool;
    const auto check = [&](const Item& item) {
        const auto& decoded = item.decoded;
        if (decoded.object && (!decoded.key || !decoded.errors.empty())) std::abort();
        if (decoded.object && key_of(*decoded.object) != *decoded.key) std::abort();
        if (!decoded.key && decoded.errors.empty()) std::abort();
    };
    FrameReader frames(encoding);
    frames.feed(bytes);
    for (auto frame = frames.next(); frame && *frame; frame = frames.next()) {
        const auto event = read_watch_event(encoding, kind, **frame, pool);
        if (event && event->type <= EventType::kDeleted) check(event->item);
    }
    if (const auto page = read_list(encoding, kind, bytes, pool)) {
        for (const auto& item : page->items)
            check(item);
    }
    (void)read_status(encoding, 500, bytes);
    (void)offers_resource(bytes, "pods");
    return 0;
}
