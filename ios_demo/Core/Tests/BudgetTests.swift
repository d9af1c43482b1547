import Foundation
import RIDCore
@testable import RIDTestSupport
import XCTest

final class BudgetTests: XCTestCase {
    func testGoldenVectors() throws {
        let cases = try Golden.budget().apply_uint8
        XCTAssertGreaterThanOrEqual(cases.count, 20)
        for item in cases {
            let budget = try Budget(levels: item.levels, strength: item.strength)
            let protected = try budget.apply(item.unit.map { Float($0) }, to: item.image)
            XCTAssertEqual(protected, item.protected, item.name)
        }
    }

    /// Values of the network, and what rid_core makes of them: the model's own vectors.
    func testModelVectors() throws {
        let document = try Golden.model()
        guard let path = ProcessInfo.processInfo.environment["RID_PORTRAIT_RGB"] else {
            throw XCTSkip("RID_PORTRAIT_RGB names no decoded portrait; Linux has no PNG decoder")
        }
        let pixels = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertEqual(SHA256.hex(pixels), document.image.rgb_sha256)
        let image = document.positions.map { pixels[$0] }
        let budget = try Budget(levels: document.levels)
        XCTAssertEqual(try budget.apply(document.deltaValues, to: image), document.protectedLevels)
    }

    func testRefusals() {
        XCTAssertThrowsError(try Budget(levels: 0))
        XCTAssertThrowsError(try Budget(levels: 256))
        XCTAssertThrowsError(try Budget(levels: 8, strength: 0))
        XCTAssertThrowsError(try Budget(levels: 8, strength: 1.01))
        XCTAssertThrowsError(try Budget(levels: 8, strength: .nan))
        XCTAssertThrowsError(try Budget(levels: 8).apply([0], to: [1, 2]))
        XCTAssertThrowsError(try Budget(levels: 8).apply([.nan], to: [1])) { error in
            XCTAssertEqual(error as? RIDError, .notAPerturbation(engine: "this device"))
        }
    }

    func testVerdict() throws {
        var original = Bitmap(width: 2, height: 1)
        var saved = Bitmap(width: 2, height: 1, order: .bgra)
        saved.withView { $0.bytes(row: 0)[2] = 9 }  // red of the first pixel
        let verdict = try original.withView { before in
            try saved.withView { try Budget(levels: 8).verify(original: before, saved: $0) }
        }
        XCTAssertEqual(verdict.maxLevels, 9)
        XCTAssertFalse(verdict.within)
        XCTAssertEqual(verdict.rmsLevels, (81.0 / 6).squareRoot(), accuracy: 1e-12)
        let same = try original.withView {
            try Budget(levels: 8).verify(original: $0, saved: $0)
        }
        XCTAssertTrue(same.within)
        XCTAssertEqual(same.rmsLevels, 0)
        var wide = Bitmap(width: 3, height: 1)
        XCTAssertThrowsError(
            try original.withView { before in
                try wide.withView { try Budget(levels: 8).verify(original: before, saved: $0) }
            })
    }
}
