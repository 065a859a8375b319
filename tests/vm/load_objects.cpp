// SPDX-License-Identifier: Apache-2.0
// Loads BPF objects with everything switched on, so that the verifier of the running kernel sees
// all of their code, and prints what each program cost it.
//
//   load_objects BUDGET OBJECT...     exits 1 if one does not load or costs more instructions
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/resource.h>

#include "weir/config.h"

namespace {

constexpr size_t kLogTail = 1500;

struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, Close>;

std::string collected_log;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    char* text = nullptr;
    if (vasprintf(&text, format, arguments) >= 0) collected_log += text;
    std::free(text);
    return 0;
}

/// Where `cfg` is within the object's read-only data; -1: it has none.
long config_offset(const bpf_object* object) {
    const btf* types = bpf_object__btf(object);
    const int section = btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
    if (section < 0) return -1;
    const btf_type* type = btf__type_by_id(types, static_cast<uint32_t>(section));
    const btf_var_secinfo* variables = btf_var_secinfos(type);
    for (unsigned i = 0; i < btf_vlen(type); i++) {
        const btf_type* variable = btf__type_by_id(types, variables[i].type);
        if (std::strcmp(btf__name_by_offset(types, variable->name_off), "cfg") == 0) {
            return variables[i].offset;
        }
    }
    return -1;
}

void configure(bpf_object* object) {
    const long offset = config_offset(object);
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        const std::string_view name = bpf_map__name(map);
        size_t size = 0;
        auto* data = static_cast<char*>(const_cast<void*>(bpf_map__initial_value(map, &size)));
        if (offset < 0 || !name.ends_with(".rodata") || data == nullptr) continue;
        weir_config config{};
        config.flags = ~uint32_t{WEIR_CFG_DRY_RUN};
        config.nodeport_min = 30000;
        config.nodeport_max = 32767;
        config.snat_min = 45056;
        config.snat_max = 65535;
        std::memcpy(data + offset, &config, sizeof config);
    }
}

uint32_t verified_instructions(const bpf_program* program) {
    bpf_prog_info info{};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0) return 0;
    return info.verified_insns;
}

bool load(const std::string& path, uint32_t budget) {
    collected_log.clear();
    Object object(bpf_object__open_file(path.c_str(), nullptr));
    if (object) configure(object.get());
    if (!object || bpf_object__load(object.get()) != 0) {
        const size_t cut = collected_log.size() > kLogTail ? collected_log.size() - kLogTail : 0;
        std::printf("%s does not load: ...\n%s\n", path.c_str(), collected_log.c_str() + cut);
        return false;
    }
    bool good = true;
    const std::string name = path.substr(path.find_last_of('/') + 1);
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object.get()) {
        const uint32_t cost = verified_instructions(program);
        const bool over = cost > budget;
        good = good && !over;
        std::printf("%-14s %-24s %8u instructions verified%s\n", name.c_str(),
                    bpf_program__name(program), cost, over ? "   OVER BUDGET" : "");
    }
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: load_objects BUDGET OBJECT...\n");
        return 2;
    }
    libbpf_set_print(collect);
    const auto budget = static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10));
    bool good = true;
    for (int i = 2; i < argc; i++)
        good = load(argv[i], budget) && good;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
