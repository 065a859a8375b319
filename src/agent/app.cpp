// SPDX-License-Identifier: Apache-2.0
#include "agent/app.h"

#include <algorithm>
#include <set>
#include <thread>

#include <boost/json/value.hpp>

#include "agent/api_server.h"
#include "agent/cni_install.h"
#include "agent/cni_service.h"
#include "agent/flow_stream.h"
#include "agent/heap_trimmer.h"
#include "agent/host.h"
#include "agent/loop.h"
#include "agent/metrics.h"
#include "agent/names.h"
#include "agent/objects.h"
#include "agent/pods.h"
#include "agent/privileges.h"
#include "agent/settings.h"
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
/// Between two looks at all devices and pods' links.
constexpr auto kLookAround = 60s;
/// Requests of runtimes handled at the same time. Wiring waits for one kernel lock anyway.
constexpr unsigned kCniThreads = 4;

/// Makes `auto` one of the others.
void choose_source(Config& config) {
    if (config.source != Config::Source::kAuto) return;
    const bool cluster = !config.kubeconfig.empty() || kube::api::in_cluster();
    config.source = cluster ? Config::Source::kKubernetes : Config::Source::kFiles;
    if (!cluster) config.source_dirs = {"/etc/weir/objects"};
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
        node_changed();  // it may not be what was remembered of it
        objects_->set_host_addresses(host_addresses());
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
        const auto adopted = WEIR_TRY(pods_->adopt(ipam_->list()));
        if (adopted.removed > 0) {
            log::info("{} endpoints of vanished pods removed", adopted.removed);
        }
        if (adopted.restored > 0) {
            log::warn("{} pods were in no table (the BPF file system was lost?) and are again",
                      adopted.restored);
        }
        for (const auto& failure : adopted.failures)
            log::error("{}: it is not served; delete it", failure.message());
        return {};
    }

    Result<void> serve() {
        reader_.emplace(WEIR_TRY(datapath::Reader::of(datapath_->pins(), datapath_->maps())));
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
                         [this] { return snapshot(); });
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

    [[nodiscard]] metrics::Snapshot snapshot() const {
        auto out = views_->metrics();
        const auto refused = server_->refusals();
        out.api_refused = {{"permission", refused.permission},
                           {"malformed", refused.malformed},
                           {"too_large", refused.too_large},
                           {"timeout", refused.timeout},
                           {"connections", refused.connections}};
        return out;
    }

    void serve_cni(const api::Request& request, const api::Responder& responder) {
        workers_.run([this, path = request.path, body = request.body, responder] {
            const auto begin = std::chrono::steady_clock::now();
            const auto reply = cni_->handle(path, body);
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
            metrics_->cni_request(path.substr(path.rfind('/') + 1), reply.code, took);
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
            follow_pod_ranges();
        });
        loop_.every(kLookAround, [this] { look_around(); });
        loop_.every(1s, [this] { save_names(); });
    }

    void devices_readable() {
        const auto changed = host_->devices().on_readable();
        if (!changed) {
            log::error("following devices: {}", changed.error().message());
            return;
        }
        if (*changed) devices_changed();
    }

    /// Notifications can be lost without a word, by a bug of ours or the kernel's: an occasional
    /// look at everything.
    void look_around() {
        const auto changed = host_->devices().refresh();
        if (!changed) {
            log::error("looking at devices: {}", changed.error().message());
        } else if (*changed) {
            log::warn("devices or addresses had changed without notice");
            devices_changed();
        }
        pods_->with_watcher(
            [](netlink::Watcher& watcher) { watcher.mark_all(std::chrono::steady_clock::now()); });
    }

    void devices_changed() {
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
        objects_->set_host_addresses(host_addresses());
        refresh_names();
    }

    /// What this host sends from: the addresses of its external devices.
    std::vector<IpAddress> host_addresses() const {
        std::vector<IpAddress> out;
        for (const auto& device : host_->devices().current().devices) {
            for (const weir_addr& abi : device.abi.addr) {
                const IpAddress address(abi);
                if (!address.is_unspecified()) out.push_back(address);
            }
        }
        return out;
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

    /// Programs with the configuration as it is now, in force if the tables are filled.
    Result<void> reload() {
        WEIR_CHECK(host_->ensure_link());
        WEIR_CHECK(datapath_->load(WEIR_TRY(host_->program_config())));
        WEIR_CHECK(host_->write_tables(*datapath_));
        if (!objects_->started()) return {};
        WEIR_CHECK(datapath_->activate(to_datapath(config_.socket_hooks)));
        return host_->attach_devices(*datapath_);
    }

    /// weir0 was made anew: its index is part of the programs' configuration.
    void replace_programs() {
        if (auto result = reload(); !result) {
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
                    },
                .network_programmed =
                    [this](std::chrono::duration<double> took) {
                        if (metrics_) metrics_->network_programmed(took);
                    }};
    }

    void node_changed() {
        follow_pod_ranges();
        if (host_->devices().set_node_addresses(objects_->node_addresses())) devices_changed();
    }

    /// The node's pod ranges and, behind them, those it had that pods still have addresses of.
    std::vector<IpPrefix> wanted_pod_ranges() const {
        std::vector<IpPrefix> wanted = objects_->pod_ranges();
        if (wanted == pod_ranges_) return wanted;
        const auto records = ipam_->list();
        const auto in_use = [&](const IpPrefix& range) {
            return std::ranges::any_of(records, [&](const ipam::Record& record) {
                return std::ranges::any_of(record.addresses, [&](const IpAddress& address) {
                    return range.contains(address);
                });
            });
        };
        for (const IpPrefix& range : pod_ranges_) {
            if (std::ranges::find(wanted, range) == wanted.end() && in_use(range)) {
                wanted.push_back(range);
            }
        }
        return wanted;
    }

    /// Tried again with the next tick if it fails.
    void follow_pod_ranges() {
        const auto wanted = wanted_pod_ranges();
        if (wanted == pod_ranges_) return;
        if (const auto changed = change_pod_ranges(wanted); !changed) {
            host_->set_pod_ranges(pod_ranges_);
            const auto& message = changed.error().message();
            if (message != std::exchange(range_trouble_, message)) {
                log::error("the pod ranges of this node changed and cannot be taken up: {}",
                           message);
            }
            return;
        }
        range_trouble_.clear();
        pod_ranges_ = wanted;
        for (const IpPrefix& range : wanted)
            log::info("pod range: {}", range.to_string());
    }

    Result<void> change_pod_ranges(const std::vector<IpPrefix>& wanted) {
        WEIR_CHECK(ipam_->set_ranges(objects_->pod_ranges()));
        const auto before = host_->routers();
        host_->set_pod_ranges(wanted);
        pods_->with_watcher(
            [this](netlink::Watcher& watcher) { watcher.set_host(host_->link_spec()); });
        if (host_->routers() != before) return reload();
        WEIR_CHECK(host_->ensure_link());
        return host_->write_tables(*datapath_);
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
        write_names();
        heap_.trim();
    }

    void write_names() {
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
    std::string range_trouble_;  ///< told already
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
    HeapTrimmer heap_;
    Workers workers_{kCniThreads};
};

}  // namespace

Result<void> run_agent(Start start) {
    // Before there are threads, which would keep what they were started with.
    const auto privileges =
        WEIR_TRY(drop_privileges(wanted_capabilities(!start.config.socket_group.empty())));
    if (!privileges.missing.empty()) {
        log::warn("this process lacks capabilities: {}; what needs them will fail",
                  capability_names(privileges.missing));
    }
    if (!privileges.bounding_cleared) {
        log::warn("the capability bounding set stays as it is: CAP_SETPCAP is missing");
    }
    return Agent(std::move(start)).run();
}

}  // namespace weir::agent
