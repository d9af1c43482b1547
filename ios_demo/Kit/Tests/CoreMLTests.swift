import Foundation
import RIDCore
@testable import RIDKit
@testable import RIDTestSupport
import XCTest

/// The exported model in Core ML, against tests/golden/model.json: on a Mac, with `make export` run
/// before (or `$RID_MODELS`, a folder with rid-s.mlpackage).
final class CoreMLTests: XCTestCase {
    private func library() throws -> ModelLibrary {
        #if os(Linux)
        throw XCTSkip("Core ML is a stand-in here")
        #else
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let dist = package.deletingLastPathComponent().appendingPathComponent("dist")
        let path = ProcessInfo.processInfo.environment["RID_MODELS"] ?? dist.path
        let models = URL(fileURLWithPath: path, isDirectory: true)
        guard FileManager.default.fileExists(
            atPath: models.appendingPathComponent("rid-s.mlpackage").path)
        else { throw XCTSkip("no rid-s.mlpackage in \(path); run: make export") }
        return ModelLibrary(
            models: models,
            cache: FileManager.default.temporaryDirectory.appendingPathComponent("rid-tests"))
        #endif
    }

    /// Decoded pixel by pixel; a colour conversion on the way would show here.
    func testThePortraitsPixels() throws {
        _ = try library()
        let photo = try PhotoFile(url: Golden.portrait).decode()
        XCTAssertEqual(SHA256.hex(photo.bitmap.levels), try Golden.model().image.rgb_sha256)
    }

    func testEveryComputeUnit() async throws {
        let library = try library()
        let document = try Golden.model()
        let metadata = try await library.package("rid-s").metadata
        guard metadata.weights == document.weights else {
            throw XCTSkip("the golden vectors are of other weights; run: make golden export")
        }
        let bounds = try XCTUnwrap(document.tolerance[metadata.precision])
        for units in ComputeUnits.allCases {
            let defender = try await library.open("rid-s", on: units)
            var photo = try PhotoFile(url: Golden.portrait).decode()
            let view = try photo.bitmap.withView {
                try Protection.workingView(of: $0, side: defender.side)
            }
            let unit = try await Protection.predict(view, with: defender)
            var (signal, noise) = (0.0, 0.0)
            for (position, expected) in zip(document.positions, document.deltaValues) {
                signal += Double(expected * expected)
                noise += pow(Double(unit.values[position] - expected), 2)
            }
            let sqnr = 10 * log10(signal / max(noise, 1e-30))
            XCTAssertGreaterThanOrEqual(sqnr, bounds["delta_sqnr_db"] ?? 0, units.name)
            let budget = try Budget(levels: document.levels)
            _ = try photo.bitmap.withView { try Protection.apply(unit, to: $0, budget: budget) }
            let levels = photo.bitmap.levels
            for (position, expected) in zip(document.positions, document.protectedLevels) {
                XCTAssertLessThanOrEqual(abs(Int(levels[position]) - Int(expected)), 1)
            }
        }
    }
}
