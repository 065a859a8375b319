// SPDX-License-Identifier: Apache-2.0
#include "native/host/object.h"

#include <cstring>
#include <memory>
#include <stdexcept>

#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace weir::native {
namespace {

MapSpec spec_of(const bpf_map* map, const std::string& name) {
    return {.name = name,
            .type = bpf_map__type(map),
            .key_size = bpf_map__key_size(map),
            .value_size = bpf_map__value_size(map),
            .max_entries = bpf_map__max_entries(map)};
}

}  // namespace

Object::Object(const std::string& name) : name_(name) {
    const std::string path = std::string(WEIR_NATIVE_DIR) + "/libweir_native_" + name + ".so";
    library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) throw std::runtime_error(dlerror());
    add_maps(std::string(WEIR_BPF_DIR) + "/" + name + ".bpf.o");
}

Object::~Object() = default;  // stays loaded: sanitizers need its symbols in reports

void* Object::symbol(const std::string& name) const {
    return dlsym(library_, name.c_str());
}

Machine::Program Object::find_program(const std::string& name) const {
    return reinterpret_cast<Machine::Program>(symbol(name));
}

Machine::Program Object::program(const std::string& name) const {
    Machine::Program found = find_program(name);
    if (found == nullptr) throw std::runtime_error(name_ + " has no program " + name);
    return found;
}

void Object::configure(const weir_config& config) {
    void* target = symbol("cfg");
    if (target == nullptr) throw std::runtime_error(name_ + " has no cfg");
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t within = reinterpret_cast<uintptr_t>(target) % page;
    if (mprotect(static_cast<char*>(target) - within, within + sizeof config,
                 PROT_READ | PROT_WRITE) != 0) {
        throw std::runtime_error("mprotect cfg");
    }
    std::memcpy(target, &config, sizeof config);
}

void Object::add_maps(const std::string& file) {
    struct Close {
        void operator()(bpf_object* object) const { bpf_object__close(object); }
    };
    const std::unique_ptr<bpf_object, Close> object(bpf_object__open_file(file.c_str(), nullptr));
    if (!object) throw std::runtime_error("cannot open " + file);
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object.get()) {
        if (bpf_map__is_internal(map)) continue;
        const std::string map_name = bpf_map__name(map);
        const void* variable = symbol(map_name);
        if (variable == nullptr) throw std::runtime_error(name_ + " has no map " + map_name);
        const bool shared = Machine::get().find(map_name) != nullptr;
        Map& made = Machine::get().add(spec_of(map, map_name), variable);
        const bpf_map* inner = bpf_map__inner_map(map);
        if (inner == nullptr || shared) continue;
        for (uint32_t i = 0; i < made.spec().max_entries; i++) {
            Map& element = Machine::get().add_inner(spec_of(inner, map_name + std::to_string(i)));
            dynamic_cast<PointerMap&>(made).set(i, &element);
        }
    }
}

}  // namespace weir::native
