// SPDX-License-Identifier: Apache-2.0
#include "datapath/residue.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace weir::datapath {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class ResidueTest : public testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::create_directories(net());
        std::filesystem::create_directories(conf());
    }
    std::filesystem::path net() const { return dir_.path() / "net"; }
    std::filesystem::path conf() const { return dir_.path() / "conf"; }
    static void touch(const std::filesystem::path& file) { std::ofstream(file) << "{}"; }
    [[nodiscard]] std::vector<std::string> found() const {
        std::vector<std::string> out;
        for (const auto& one : find_residue(net(), conf())) {
            out.push_back(one.what);
            EXPECT_FALSE(one.remedy.empty());
        }
        return out;
    }

    test::TempDir dir_;
};

TEST_F(ResidueTest, OnAHostOfItsOwnThereIsNone) {
    for (const char* name : {"lo", "eth0", "weir0", "w1fe1b-4c-xs2kr", "docker0"})
        touch(net() / name);
    touch(conf() / "05-weir.conflist");
    touch(conf() / "87-podman.conflist");
    touch(conf() / "00-readme.txt");
    EXPECT_THAT(found(), IsEmpty());
    EXPECT_THAT(find_residue("/nonexistent", "/nonexistent"), IsEmpty());
}

TEST_F(ResidueTest, InterfacesOfOthersAndConfigurationsBeforeOursAreNamed) {
    for (const char* name : {"cilium_host", "cali12345678901", "flannel.1", "kube-ipvs0"})
        touch(net() / name);
    touch(conf() / "00-multus.conf");
    touch(conf() / "05-cilium.conflist");
    EXPECT_THAT(found(),
                testing::ElementsAre(
                    "interface cali12345678901 of Calico", "interface cilium_host of Cilium",
                    "interface flannel.1 of flannel", "interface kube-ipvs0 of kube-proxy",
                    HasSubstr("00-multus.conf"), HasSubstr("05-cilium.conflist")));
}

}  // namespace
}  // namespace weir::datapath
