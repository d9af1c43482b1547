// swift-tools-version:5.9
import PackageDescription

let strict: [SwiftSetting] = [.enableExperimentalFeature("StrictConcurrency")]

let core: [Target] = [
    .target(name: "RIDCore", path: "Core/Sources", swiftSettings: strict),
    // Golden vectors and stand-in networks, for the tests of both libraries.
    .target(name: "RIDTestSupport", dependencies: ["RIDCore"], path: "Core/TestSupport"),
    .testTarget(
        name: "RIDCoreTests", dependencies: ["RIDCore", "RIDTestSupport"], path: "Core/Tests",
        swiftSettings: strict),
]

#if os(Linux)
// Stand-ins for Apple's frameworks, to type-check Kit, app and share extension where there is no
// Xcode, and to run the Kit's own code. No product holds any of them.
func standIn(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Stubs/\(name)")
}

let standIns: [Target] = [
    standIn("CoreFoundationTypes"),
    standIn("CoreGraphics", ["CoreFoundationTypes"]),
    standIn("CoreVideo", ["CoreFoundationTypes"]),
    standIn("CoreML", ["CoreVideo"]),
    standIn("ImageIO", ["CoreGraphics"]),
    standIn("UniformTypeIdentifiers"),
    standIn("Vision", ["CoreGraphics"]),
    standIn("os"),
    standIn("SwiftUI", ["CoreGraphics", "UniformTypeIdentifiers"]),
    standIn("PhotosUI", ["SwiftUI"]),
    standIn("Photos"),
    standIn("UIKit", ["SwiftUI"]),
    standIn("AVFoundation", ["UIKit"]),
]
let forKit: [Target.Dependency] = [
    "CoreGraphics", "CoreVideo", "CoreML", "ImageIO", "UniformTypeIdentifiers", "Vision", "os",
]
#else
let standIns: [Target] = []
let forKit: [Target.Dependency] = []
#endif

let kit: [Target] = [
    .target(
        name: "RIDKit", dependencies: ["RIDCore"] + forKit, path: "Kit/Sources",
        swiftSettings: strict),
    .testTarget(
        name: "RIDKitTests", dependencies: ["RIDKit", "RIDTestSupport"], path: "Kit/Tests",
        swiftSettings: strict),
]

let package = Package(
    name: "RID",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "RIDCore", targets: ["RIDCore"]),
        .library(name: "RIDKit", targets: ["RIDKit"]),
    ],
    targets: core + standIns + kit
)
