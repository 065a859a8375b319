// SPDX-License-Identifier: Apache-2.0
#include "datapath/embedded.h"

#include <cstddef>

#include "host.skel.h"
#include "pod.skel.h"
#include "sock.skel.h"
#include "stub.skel.h"

namespace weir::datapath {
namespace {

ObjectImage image(const char* name, const void* (*bytes)(size_t*)) {
    size_t size = 0;
    const auto* data = static_cast<const std::byte*>(bytes(&size));
    return {.name = name, .data = {data, size}};
}

}  // namespace

Build embedded_build() {
    return {.stub = image("weir_stub", weir_stub_bpf__elf_bytes),
            .pod = image("weir_pod", weir_pod_bpf__elf_bytes),
            .host = image("weir_host", weir_host_bpf__elf_bytes),
            .sock = image("weir_sock", weir_sock_bpf__elf_bytes)};
}

}  // namespace weir::datapath
