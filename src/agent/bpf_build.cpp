// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf_build.h"

#include <linux/types.h>

#include "host.skel.h"
#include "pod.skel.h"
#include "sock.skel.h"
#include "stub.skel.h"

namespace weir::agent {
namespace {

template <typename Skeleton>
datapath::ObjectImage image(const char* name) {
    size_t size = 0;
    const void* const data = Skeleton::elf_bytes(&size);
    return {name, {static_cast<const std::byte*>(data), size}};
}

}  // namespace

datapath::Build embedded_build() {
    return {.stub = image<weir_stub_bpf>("stub"),
            .pod = image<weir_pod_bpf>("pod"),
            .host = image<weir_host_bpf>("host"),
            .sock = image<weir_sock_bpf>("sock")};
}

}  // namespace weir::agent
