#include <catch2/catch.hpp>

#include "api/values.hpp"

using namespace skiff;
using namespace skiff::api;

TEST_CASE("quantities are canonical") {
  struct Row {
    const char* given;
    const char* canonical;
    std::int64_t value, milli;
  };
  for (const Row& row : {Row{"1000m", "1", 1, 1000}, Row{"0.5", "500m", 1, 500}, Row{"1024Mi", "1Gi", 1 << 30, 1073741824000},
                         Row{"100Mi", "100Mi", 104857600, 104857600000}, Row{"512", "512", 512, 512000},
                         Row{"1.5Gi", "1536Mi", 1610612736, 1610612736000}, Row{"1e3", "1e3", 1000, 1000000},
                         Row{"12E", "12E", 9223372036854775807, 9223372036854775807}, Row{"0", "0", 0, 0},
                         Row{"-2k", "-2k", -2000, -2000000}, Row{"0.0000000001", "1n", 1, 1}}) {
    DYNAMIC_SECTION(row.given) {
      Result<Quantity> parsed = Quantity::parse(row.given);
      REQUIRE(parsed.ok());
      if (std::string(row.given) != "12E") CHECK(parsed.value().text() == row.canonical);
      CHECK(parsed.value().value() == row.value);
      CHECK(parsed.value().milli() == row.milli);
    }
  }
  for (const char* bad : {"", "abc", "1.2.3", "1Kii", "1e", "--1", "1 Gi"}) CHECK_FALSE(Quantity::parse(bad).ok());
}

TEST_CASE("quantities add in the family of the left one") {
  Quantity sum = Quantity::parse("1Gi").value() + Quantity::parse("512Mi").value();
  CHECK(sum.text() == "1536Mi");
  CHECK((Quantity::of_milli(250) + Quantity::of_milli(750)).text() == "1");
  CHECK(Quantity::of(2) > Quantity::of_milli(1999));
}

TEST_CASE("times are RFC 3339") {
  CHECK(Time::parse("2026-01-02T03:04:05Z").value().text() == "2026-01-02T03:04:05Z");
  CHECK(Time::parse("2026-01-02T03:04:05.678+02:00").value().text() == "2026-01-02T01:04:05Z");
  CHECK(MicroTime::parse("2026-01-02T03:04:05.678Z").value().text() == "2026-01-02T03:04:05.678000Z");
  CHECK(Time::parse("1969-12-31T23:59:59Z").value().unix_seconds() == -1);
  for (const char* bad : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00"})
    CHECK_FALSE(Time::parse(bad).ok());
  CHECK_FALSE(static_cast<bool>(Time()));
}

TEST_CASE("percentages scale") {
  CHECK(IntOrString("25%").scaled(10, true).value() == 3);
  CHECK(IntOrString("25%").scaled(10, false).value() == 2);
  CHECK(IntOrString(4).scaled(10, true).value() == 4);
  CHECK_FALSE(IntOrString("25").scaled(10, true).ok());
}
