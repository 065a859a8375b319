// SPDX-License-Identifier: Apache-2.0
#include "agent/app.h"

#include <algorithm>
#include <set>
#include <thread>

#include <grp.h>

#include <boost/json/value.hpp>

#include "agent/api_server.h"
#include "agent/cni_install.h"
#include "agent/cni_service.h"
#include "agent/flow_stream.h"
#include "agent/host.h"
#include "agent/loop.h"
#include "agent/metrics.h"
#include "agent/names.h"
#include "agent/objects.h"
#include "agent/pods.h"
#include "agent/version.h"
#include "agent/views.h"
#include "common/log.h"
#include "datapath/datapath.h"
#include "datapath/embedded.h"
#include "datapath/host_checks.h"
#include "datapath/reader.h"
#include "flow/hub.h"
#include "flow/ring_reader.h"
#include "kube/api/access.h"

namespace weir::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Flow events handled before the loop looks at other work.
constexpr size_t kEventBudget = 512;
/// Requests of runtimes handled at the same time. Wiring waits for one kernel lock anyway.
constexpr unsigned kCniThreads = 4;

datapath::SocketHooks to_datapath(SocketHooks hooks) {
    switch (hooks) {
        case SocketHooks::kAll:
            return datapath::SocketHooks::kAll;
        case SocketHooks::kHost:
            return datapath::SocketHooks::kHost;
        case SocketHooks::kOff:
            return datapath::SocketHooks::kOff;
    }
    return datapath::SocketHooks::kOff;
}

datapath::TableSizes table_sizes(const Config& config) {
    datapath::TableSizes sizes;
    // A shard may be fuller than the mean: half as much again.
    sizes.ct_per_shard = config.max_connections / WEIR_CT_SHARDS * 3 / 2;
    sizes.half_open = config.max_new_connections;
    sizes.vips = config.max_services * 2;
    sizes.services = config.max_services;
    sizes.slots = config.max_slots;
    sizes.backends = config.max_backends;
    sizes.endpoints = config.max_pods + 1;
    sizes.pods = config.max_pods * 2;
    sizes.devices = config.max_pods * 2 + 256;
    sizes.netns = config.max_pods * 2;
    return sizes;
}

Result<std::optional<gid_t>> find_group(const std::string& name) {
    if (name.empty()) return std::nullopt;
    const ::group* const found = ::getgrnam(name.c_str());
    if (found == nullptr) {
        return fail(Errc::kNotFound, "socket-group: no group \"{}\" on this host", name);
    }
    return found->gr_gid;
}

/// Makes `auto` one of the others.
void choose_source(Config& config) {
    if (config.source != Config::Source::kAuto) return;
    const bool cluster = !config.kubeconfig.empty() || kube::api::in_cluster();
    config.source = cluster ? Config::Source::kKubernetes : Config::Source::kFiles;
    if (!cluster) config.source_dirs = {"/etc/weir/objects"};
}

/// The BPF file system: the configured one, or the usual place.
fs::path bpffs_of(const Config& config) {
    return config.bpffs.empty() ? fs::path("/sys/fs/bpf") : config.bpffs;
}

Result<std::pair<IpAddress, uint16_t>> parse_listener(const std::string& text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos) {
        return fail(Errc::kInvalid, "metrics-address \"{}\" is not ADDRESS:PORT", text);
    }
    std::string host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    unsigned long port = 0;
    try {
        port = std::stoul(text.substr(colon + 1));
    } catch (const std::exception&) {
        port = 65536;
    }
    if (port > 65535) return fail(Errc::kInvalid, "metrics-address \"{}\": bad port", text);
    return std::pair(WEIR_TRY(IpAddress::parse(host)), static_cast<uint16_t>(port));
}

/// Everything the agent is made of, in the order in which it comes up. Members are destroyed in
/// reverse: the server and the workers end before what they use.
class Agent {
  public:
    explicit Agent(Start start) : start_(std::move(start)), config_(start_.config) {
        choose_source(start_.config);
    }

    Result<void> run() {
        WEIR_CHECK(prepare());
        WEIR_CHECK(bring_up());
        WEIR_CHECK(serve());
        loop_.stop_on_signals();
        if (!objects_->synced())
            log::info("serving; tables follow when every object has been read");
        take_over_when_synced();
        if (failure_) return Failure(*std::exchange(failure_, {}));
        loop_.run();
        server_->stop();
        if (failure_) return Failure(*std::exchange(failure_, {}));
        return {};
    }

  private:
    /// What must hold before anything is touched.
    Result<void> prepare() {
        std::error_code error;
        fs::create_directories(config_.run_dir / "pods.d", error);
        if (error) {
            return fail(Errc::kSystem, "run-dir {}: {}", config_.run_dir.string(), error.message());
        }
        const auto configured = config_.cgroup_root.empty()
                                    ? std::nullopt
                                    : std::optional<fs::path>(config_.cgroup_root);
        cgroup_ = WEIR_TRY(datapath::find_cgroup_root(configured));
        if (cgroup_.subtree) {
            log::info(
                "cgroup {} is not the host's root: sockets outside of it are served by tc only",
                cgroup_.path.string());
        }
        WEIR_CHECK(datapath::check_bpffs(bpffs_of(config_)));
        return {};
    }

    Result<void> bring_up() {
        datapath_ = WEIR_TRY(datapath::Datapath::open({.bpffs = bpffs_of(config_),
                                                       .cgroup_root = cgroup_.path,
                                                       .sizes = table_sizes(config_),
                                                       .build = datapath::embedded_build()}));
        report_capacities();
        objects_ = WEIR_TRY(Objects::open(config_, datapath_->lb(), object_hooks()));
        WEIR_CHECK(objects_->wait_for_node());
        pod_ranges_ = objects_->pod_ranges();
        host_ = WEIR_TRY(Host::open(config_, pod_ranges_, objects_->node_addresses()));
        WEIR_CHECK(host_->ensure_link());
        WEIR_CHECK(datapath_->load(WEIR_TRY(host_->program_config())));
        WEIR_CHECK(host_->write_tables(*datapath_));
        return bring_up_pods();
    }

    /// What waits for all objects: until then the tables and programs of the agent before go on.
    Result<void> take_over() {
        WEIR_CHECK(objects_->start());
        const auto activation = WEIR_TRY(datapath_->activate(to_datapath(config_.socket_hooks)));
        log::info("programs in force, bank {}", activation.bank);
        WEIR_CHECK(host_->attach_devices(*datapath_));
        WEIR_CHECK(install_cni(cni_install()));
        refresh_names();
        objects_->report_ready();
        log::info("ready: {} Services, {} pods", objects_->store().count<model::Service>(),
                  pods_->size());
        return {};
    }

    /// Now, or as soon as everything has been read.
    void take_over_when_synced() {
        if (objects_->started() || !objects_->synced()) return;
        if (auto result = take_over(); !result) {
            failure_ = std::move(result).error();
            loop_.stop();
        }
    }

    Result<void> bring_up_pods() {
        threads_ = WEIR_TRY(netlink::NetNsThread::start());
        links_.emplace(*threads_);
        watcher_.emplace(WEIR_TRY(netlink::Watcher::open(host_->link(), *links_)));
        watcher_->set_host(host_->link_spec());
        pods_ =
            WEIR_TRY(Pods::open(*links_, datapath_->endpoints(), *watcher_, datapath_->devices()));
        pods_->set_mtu(host_->pod_mtu());
        ipam_ = WEIR_TRY(ipam::Pools::open({.dir = config_.run_dir / "ipam"}));
        WEIR_CHECK(ipam_->set_ranges(pod_ranges_));
        cni_ = WEIR_TRY(CniService::open(*ipam_, *pods_, config_.run_dir / "cni-queue"));
        const auto reconciled = WEIR_TRY(cni_->start());
        if (reconciled.kept + reconciled.adopted.size() + reconciled.released.size() > 0) {
            log::info("pods: {} kept, {} adopted, {} released", reconciled.kept,
                      reconciled.adopted.size(), reconciled.released.size());
        }
        const auto stale = WEIR_TRY(pods_->adopt(ipam_->list()));
        if (stale > 0) log::info("{} endpoints of vanished pods removed", stale);
        return {};
    }

    Result<void> serve() {
        reader_.emplace(WEIR_TRY(datapath::Reader::open(datapath_->pins())));
        flow_names_.emplace(*objects_, *pods_, config_.node_name);
        table_names_.emplace(*objects_);
        views_.emplace(ViewInputs{.start = start_,
                                  .cgroup = cgroup_,
                                  .datapath = *datapath_,
                                  .reader = *reader_,
                                  .objects = *objects_,
                                  .host = *host_,
                                  .pods = *pods_,
                                  .ipam = *ipam_,
                                  .cni = *cni_,
                                  .names = *table_names_,
                                  .hub = hub_});
        refresh_names();
        recorder_.emplace(*flow_names_);
        ring_.emplace(WEIR_TRY(flow::RingReader::open(
            datapath_->maps().find("weir_events")->fd(),
            [this](const weir_event& event) { hub_.publish(recorder_->make(event)); })));
        metrics_.emplace(metrics::BuildInfo{std::string(build_version()), ""},
                         [this] { return views_->metrics(); });
        WEIR_CHECK(listen());
        watch();
        return {};
    }

    CniInstall cni_install() const {
        CniInstall install;
        std::error_code ignored;
        install.binary = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "weir-cni";
        if (!fs::exists(install.binary)) {
            install.binary = install.binary.parent_path().parent_path() / "cni/weir-cni";
        }
        install.bin_dir =
            config_.cni_bin_dir.empty() ? config_.run_dir / "cni/bin" : config_.cni_bin_dir;
        const fs::path conf_dir =
            config_.cni_conf_dir.empty() ? config_.run_dir / "cni" : config_.cni_conf_dir;
        install.conflist = conf_dir / "05-weir.conflist";
        install.socket = config_.run_dir / "agent.sock";
        install.queue_dir = config_.run_dir / "cni-queue";
        return install;
    }

    Result<void> listen() {
        api::Router router;
        views_->register_on(router);
        router.get_stream("/v1/flows", [this](const api::Request& request) {
            return api::flow_stream(hub_, config_.node_name, request);
        });
        for (const auto operation : kCniOperations) {
            router.post_async(fmt::format("/v1/cni/{}", operation),
                              [this](const api::Request& request, const api::Responder& responder) {
                                  serve_cni(request, responder);
                              });
        }
        router.get_text("/metrics", api::Reach::kPublic, [this](const api::Request&) {
            auto response = api::Response::text(200, metrics_->render());
            response.content_type = "text/plain; version=0.0.4";
            return response;
        });
        server_.emplace(loop_.io(), std::move(router));
        WEIR_CHECK(server_->listen_unix({.path = config_.run_dir / "agent.sock",
                                         .group = WEIR_TRY(find_group(config_.socket_group))}));
        if (config_.metrics_address.empty()) return {};
        const auto [address, port] = WEIR_TRY(parse_listener(config_.metrics_address));
        if (const auto bound = server_->listen_tcp(address, port); !bound) {
            return Failure(
                Error(bound.error()).with("metrics-address {}", config_.metrics_address));
        }
        return {};
    }

    void serve_cni(const api::Request& request, const api::Responder& responder) {
        workers_.run([this, path = request.path, body = request.body, responder] {
            const auto begin = std::chrono::steady_clock::now();
            const auto reply = cni_->handle(path, body);
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
            metrics_->cni_request(path.substr(path.rfind('/') + 1), reply.status == 200 ? 0 : 1,
                                  took);
            api::Response response;
            response.status = reply.status;
            response.body = reply.body;
            responder.respond(std::move(response));
        });
    }

    void watch() {
        for (const int fd : objects_->fds()) {
            loop_.watch(fd, [this] {
                if (auto result = objects_->on_readable(); !result) {
                    log::error("reading objects: {}", result.error().message());
                }
                take_over_when_synced();
            });
        }
        loop_.watch(ring_->fd(), [this] {
            if (auto result = ring_->read(kEventBudget); !result) {
                log::error("flow events: {}", result.error().message());
            }
        });
        loop_.watch(host_->devices().fd(), [this] { devices_readable(); });
        loop_.watch(watcher_->fd(), [this] {
            pods_->with_watcher([](netlink::Watcher& watcher) {
                if (auto result = watcher.on_readable(std::chrono::steady_clock::now()); !result) {
                    log::error("watching links: {}", result.error().message());
                }
            });
        });
        loop_.watch(cni_->queue_fd(), [this] { workers_.run([this] { cni_->drain_queue(); }); });
        loop_.every(100ms, [this] { mend(); });
        loop_.every(2s, [this] {
            if (objects_->started()) objects_->age(std::chrono::steady_clock::now());
        });
        loop_.every(1s, [this] { save_names(); });
    }

    void devices_readable() {
        const auto changed = host_->devices().on_readable();
        if (!changed) {
            log::error("following devices: {}", changed.error().message());
            return;
        }
        if (!*changed) return;
        pods_->set_mtu(host_->pod_mtu());
        pods_->with_watcher(
            [this](netlink::Watcher& watcher) { watcher.set_host(host_->link_spec()); });
        if (auto result = host_->write_tables(*datapath_); !result) {
            log::error("host tables: {}", result.error().message());
        }
        if (!objects_->started()) return refresh_names();
        if (auto result = host_->attach_devices(*datapath_); !result) {
            log::error("attaching to devices: {}", result.error().message());
        }
        refresh_names();
    }

    /// Puts back what others removed of ours.
    void mend() {
        const auto report = pods_->with_watcher([](netlink::Watcher& watcher) {
            const auto now = std::chrono::steady_clock::now();
            const auto due = watcher.due();
            return due && *due <= now ? std::optional(watcher.run_due(now)) : std::nullopt;
        });
        if (!report) return;
        for (const auto& problem : report->repaired)
            log::warn("put back: {}", problem.text);
        for (const auto& error : report->failures)
            log::error("{}", error.message());
        if (report->host && report->host->created) replace_programs();
    }

    /// weir0 was made anew: its index is part of the programs' configuration.
    void replace_programs() {
        auto attempt = [this]() -> Result<void> {
            WEIR_CHECK(host_->ensure_link());
            WEIR_CHECK(datapath_->load(WEIR_TRY(host_->program_config())));
            WEIR_CHECK(host_->write_tables(*datapath_));
            if (!objects_->started()) return {};
            WEIR_CHECK(datapath_->activate(to_datapath(config_.socket_hooks)));
            return host_->attach_devices(*datapath_);
        };
        if (auto result = attempt(); !result) {
            log::error("weir0 was removed by somebody and could not be served again: {}",
                       result.error().message());
        }
    }

    Objects::Hooks object_hooks() {
        return {.post = [this](std::function<void()> work) { loop_.post(std::move(work)); },
                .changed =
                    [this](const kube::Delta& delta) {
                        names_changed_ = true;
                        if (!delta.of(kube::Kind::kNode).empty()) node_changed();
                        if (!delta.of(kube::Kind::kPod).empty()) refresh_names();
                    },
                .programmed =
                    [this](std::chrono::duration<double> took) {
                        if (metrics_) metrics_->programmed(took);
                    }};
    }

    void node_changed() {
        if (objects_->pod_ranges() == pod_ranges_) return;
        log::warn("the pod ranges of this node changed; they are taken up when the agent restarts");
    }

    void refresh_names() {
        if (!flow_names_) return;
        std::vector<IpAddress> addresses;
        for (const auto& address : host_->devices().current().node_addresses) {
            addresses.push_back(address.address);
        }
        flow_names_->refresh(addresses);
    }

    void save_names() {
        if (!std::exchange(names_changed_, false)) return;
        if (auto saved = table_names_->snapshot().save(config_.run_dir); !saved) {
            log::warn("names for reading tables without an agent: {}", saved.error().message());
        }
    }

    void report_capacities() const {
        for (const auto& map : datapath_->maps().adopted()) {
            if (!map.resized() || map.configured == 0) continue;
            log::warn("{} keeps its capacity of {} (configured: {}) until `weir cleanup`", map.name,
                      map.capacity, map.configured);
        }
    }

    Start start_;
    const Config& config_;
    datapath::CgroupRoot cgroup_;
    Loop loop_;
    std::unique_ptr<datapath::Datapath> datapath_;
    std::unique_ptr<Objects> objects_;
    std::vector<IpPrefix> pod_ranges_;
    std::unique_ptr<Host> host_;
    std::unique_ptr<netlink::NetNsThread> threads_;
    std::optional<netlink::PodLinks> links_;
    std::optional<netlink::Watcher> watcher_;
    std::unique_ptr<Pods> pods_;
    std::unique_ptr<ipam::Pools> ipam_;
    std::unique_ptr<CniService> cni_;
    std::optional<datapath::Reader> reader_;
    std::optional<FlowNames> flow_names_;
    std::optional<TableNames> table_names_;
    flow::Hub hub_{config_.flow_history};
    std::optional<flow::Recorder> recorder_;
    std::optional<flow::RingReader> ring_;
    std::optional<Views> views_;
    std::optional<metrics::Metrics> metrics_;
    std::optional<api::Server> server_;
    bool names_changed_ = true;
    std::optional<Error> failure_;
    Workers workers_{kCniThreads};
};

}  // namespace

Result<void> run_agent(Start start) {
    return Agent(std::move(start)).run();
}

}  // namespace weir::agent
