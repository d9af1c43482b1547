import RIDCore
@testable import RIDTestSupport
import XCTest

final class ProtectionTests: XCTestCase {
    func testGoldenVectors() async throws {
        for item in try Golden.photo().protect {
            let network = Formula(side: item.tile)
            for order in [PixelOrder.rgba, .bgra] {
                var bitmap = Bitmap(levels: FloatImage(nested: item.image), order: order)
                let view = try bitmap.withView {
                    try Protection.workingView(of: $0, side: item.tile)
                }
                let unit = try await Protection.predict(view, with: network)
                let expectedUnit = FloatImage(nested: item.working_unit)
                XCTAssertLessThanOrEqual(unit.distance(to: expectedUnit), 1e-5)
                let budget = try Budget(levels: item.levels, strength: item.strength)
                let verdict = try bitmap.withView {
                    try Protection.apply(unit, to: $0, budget: budget)
                }
                XCTAssertTrue(verdict.within)
                let expected = Bitmap(levels: FloatImage(nested: item.protected)).levels
                XCTAssertEqual(
                    bitmap.levels, expected, "\(bitmap.width) x \(bitmap.height) \(order)")
            }
        }
    }

    /// Stored pixels stay as they are, the view is turned: that gives what turning first gives.
    func testOrientations() async throws {
        let upright = Self.photo(height: 26, width: 37)
        let expected = try await protect(upright, .up)
        for orientation in Orientation.allCases {
            let stored = upright.turned(orientation.inverse)
            XCTAssertEqual(stored.turned(orientation), upright)
            let protected = try await protect(stored, orientation)
            let distance = protected.turned(orientation).distance(to: expected)
            // Mirrored sums are added up in another order; a half level may fall to either side.
            XCTAssertLessThanOrEqual(distance, 1, "\(orientation)")
            XCTAssertNotEqual(protected, stored)
        }
    }

    /// What EXIF says of the corner where row 0 and column 0 of the stored picture belong.
    func testOrientationsAreExifs() {
        // Stored as a b / c d, each pixel one grey.
        let stored = FloatImage(
            height: 2, width: 2, values: [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4])
        let upright: [Orientation: [Float]] = [
            .up: [1, 2, 3, 4], .upMirrored: [2, 1, 4, 3], .down: [4, 3, 2, 1],
            .downMirrored: [3, 4, 1, 2], .leftMirrored: [1, 3, 2, 4], .right: [3, 1, 4, 2],
            .rightMirrored: [4, 2, 3, 1], .left: [2, 4, 1, 3],
        ]
        for (orientation, expected) in upright {
            let turned = stored.turned(orientation)
            XCTAssertEqual(
                stride(from: 0, to: 12, by: 3).map { turned.values[$0] }, expected,
                "\(orientation)")
        }
    }

    func testRowsWithPadding() async throws {
        let image = Self.photo(height: 17, width: 16)
        let expected = try await protect(image, .up)
        let bytesPerRow = 4 * 16 + 20
        var memory = [UInt8](repeating: 77, count: 17 * bytesPerRow)
        func lend<Result>(_ body: (PixelView) throws -> Result) rethrows -> Result {
            try memory.withUnsafeMutableBytes {
                try body(
                    PixelView(
                        base: $0.baseAddress!, width: 16, height: 17, bytesPerRow: bytesPerRow,
                        order: .bgra))
            }
        }
        let view = try lend { pixels in
            image.write(to: pixels)
            return try Protection.workingView(of: pixels, side: 16)
        }
        let unit = try await Protection.predict(view, with: Formula(side: 16))
        _ = try lend { try Protection.apply(unit, to: $0, budget: Budget(levels: 8)) }
        let found = lend { FloatImage(resampling: $0, height: 17, width: 16) }
        XCTAssertEqual(found, expected)
        for row in 0..<17 {
            let padding = memory[row * bytesPerRow + 64..<(row + 1) * bytesPerRow]
            XCTAssertTrue(padding.allSatisfy { $0 == 77 })
        }
    }

    func testBrokenNetworks() async throws {
        struct Broken: Defender {
            let side = 16
            let levels = 8
            let engine = "broken"
            let answer: FloatImage

            func perturb(_ tile: FloatImage) async throws -> FloatImage { answer }
        }
        let view = FloatImage(height: 16, width: 16)
        var nan = view
        nan.values[5] = .nan
        for answer in [nan, FloatImage(height: 8, width: 8)] {
            do {
                _ = try await Protection.predict(view, with: Broken(answer: answer))
                XCTFail("it took what is no perturbation")
            } catch {
                XCTAssertEqual(error as? RIDError, .notAPerturbation(engine: "broken"))
            }
        }
    }

    func testAPerturbationOfAnotherPhoto() {
        var bitmap = Bitmap(width: 40, height: 20)
        XCTAssertThrowsError(
            try bitmap.withView {
                try Protection.apply(
                    FloatImage(height: 16, width: 16), to: $0, budget: Budget(levels: 8))
            })
    }

    func testCancellation() async throws {
        let image = Self.photo(height: 16, width: 64)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await Protection.predict(image, with: Formula(side: 16))
        }
        do {
            _ = try await task.value
            XCTFail("it went on")
        } catch {
            XCTAssertTrue(error is CancellationError)
        }
    }

    func testLimits() {
        XCTAssertThrowsError(try PhotoLimits.check(width: 1, height: 1, availableBytes: nil))
        XCTAssertThrowsError(try PhotoLimits.check(width: 64, height: 4097, availableBytes: nil))
        XCTAssertNoThrow(try PhotoLimits.check(width: 64, height: 64, availableBytes: nil))
        XCTAssertNoThrow(
            try PhotoLimits.check(width: 12000, height: 9000, availableBytes: 1_000_000_000))
        XCTAssertThrowsError(
            try PhotoLimits.check(width: 12000, height: 9000, availableBytes: 900_000_000)
        ) { error in
            XCTAssertEqual(
                error.localizedDescription,
                "108 megapixels need 924 MB of memory, and 900 MB are free. Close other apps, or "
                    + "scale the photo down first.")
        }
    }

    /// Twelve megapixels, to see that nothing grows or breaks with size; prints what it took.
    func testTwelveMegapixels() async throws {
        var bitmap = Bitmap(levels: Self.photo(height: 3024, width: 4032))
        let original = bitmap
        let clock = ContinuousClock()
        let begin = clock.now
        let view = try bitmap.withView { try Protection.workingView(of: $0, side: 512) }
        let scaled = clock.now
        let unit = try await Protection.predict(view, with: Formula(side: 512))
        let predicted = clock.now
        let budget = try Budget(levels: 8, strength: 0.5)
        let verdict = try bitmap.withView { try Protection.apply(unit, to: $0, budget: budget) }
        print("12 MP: scale \(scaled - begin), apply \(clock.now - predicted)")
        XCTAssertEqual(verdict.maxLevels, 4)
        var before = original
        let again = try before.withView { before in
            try bitmap.withView { try budget.verify(original: before, saved: $0) }
        }
        XCTAssertEqual(again, verdict)
    }

    private func protect(
        _ stored: FloatImage, _ orientation: Orientation
    ) async throws -> FloatImage {
        var bitmap = Bitmap(levels: stored)
        let view = try bitmap.withView {
            try Protection.workingView(of: $0, orientation: orientation, side: 16)
        }
        let unit = try await Protection.predict(view, with: Formula(side: 16))
        return try bitmap.withView { pixels in
            _ = try Protection.apply(
                unit, to: pixels, orientation: orientation, budget: Budget(levels: 8))
            return FloatImage(resampling: pixels, height: stored.height, width: stored.width)
        }
    }

    /// Whole levels, smooth and rough.
    private static func photo(height: Int, width: Int) -> FloatImage {
        var image = FloatImage(height: height, width: width)
        for row in 0..<height {
            for column in 0..<width {
                for channel in 0..<3 {
                    let rough = (row * 7919 + column * 104_729 + channel * 1299) % 101
                    let level = (row * 120 / height + column * 30 / width + rough)
                    image.values[3 * (row * width + column) + channel] = Float(level)
                }
            }
        }
        return image
    }
}
