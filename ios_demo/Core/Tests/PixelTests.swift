import RIDCore
import XCTest

final class PixelTests: XCTestCase {
    func testHalves() {
        let cases: [(UInt16, Float)] = [
            (0x0000, 0), (0x3C00, 1), (0xBC00, -1), (0x3555, 0.33325195), (0x7BFF, 65504),
            (0x0400, 0x1p-14), (0x0001, 0x1p-24), (0x83FF, -0x1.ff8p-15), (0x7C00, .infinity),
        ]
        for (bits, value) in cases { XCTAssertEqual(floatFromHalf(bits), value) }
        XCTAssertEqual(floatFromHalf(0x8000).sign, .minus)
        XCTAssertTrue(floatFromHalf(0x7E00).isNaN)
    }

    /// Planes with gaps between rows, columns and channels, as Core ML may hand them out.
    func testStrides() {
        let (height, width) = (3, 2)
        let (channelStride, rowStride, columnStride) = (40, 10, 3)
        var memory = [UInt16](repeating: 0x7E00, count: 3 * channelStride)
        var expected = FloatImage(height: height, width: width)
        for channel in 0..<3 {
            for row in 0..<height {
                for column in 0..<width {
                    // 1 + n / 1024, which a half holds exactly.
                    let number = 6 * channel + 2 * row + column
                    let at = channel * channelStride + row * rowStride + column * columnStride
                    memory[at] = 0x3C00 + UInt16(number)
                    expected.values[3 * (row * width + column) + channel] =
                        1 + Float(number) / 1024
                }
            }
        }
        let image = memory.withUnsafeBytes {
            PlanarHalf(
                base: $0.baseAddress!, height: height, width: width, channelStride: channelStride,
                rowStride: rowStride, columnStride: columnStride
            ).interleaved()
        }
        XCTAssertEqual(image, expected)
    }

    func testRoundingToLevels() {
        let image = FloatImage(
            height: 1, width: 2, values: [-3, 0.5, 1.5, 254.6, 300, .nan])
        XCTAssertEqual(Bitmap(levels: image).bytes, [0, 0, 2, 255, 255, 255, 0, 255])
        XCTAssertEqual(
            Bitmap(levels: image, order: .bgra).bytes, [2, 0, 0, 255, 0, 255, 255, 255])
    }

    func testAmplified() {
        let unit = FloatImage(height: 1, width: 1, values: [-1, 0, 1])
        XCTAssertEqual(unit.amplified(strength: 1).values, [0, 127.5, 255])
        XCTAssertEqual(unit.amplified(strength: 0.5).values, [63.75, 127.5, 191.25])
    }
}
