import RIDCore
@testable import RIDTestSupport
import XCTest

final class ScaleTests: XCTestCase {
    func testWorkingSize() throws {
        for item in try Golden.tiling().working_size {
            let size = Tiling.workingSize(
                height: item.height, width: item.width, short: item.short)
            XCTAssertEqual([size.height, size.width], item.working)
        }
    }

    func testStarts() throws {
        for item in try Golden.tiling().starts {
            XCTAssertEqual(Tiling.starts(length: item.length, tile: item.tile), item.starts)
        }
    }

    func testWeights() throws {
        for item in try Golden.tiling().weights {
            let expected = item.weights.map { $0.map { Float($0) } }
            XCTAssertEqual(Tiling.weights(length: item.length, tile: item.tile), expected)
        }
    }

    /// A convex mix is what makes the bound survive the blend.
    func testWeightsAddUpToOne() {
        for length in [512, 513, 683, 960, 961, 1500, 5000] {
            var sum = [Float](repeating: 0, count: length)
            let starts = Tiling.starts(length: length)
            for (start, weights) in zip(starts, Tiling.weights(length: length)) {
                for (offset, weight) in weights.enumerated() { sum[start + offset] += weight }
            }
            XCTAssertEqual(sum, [Float](repeating: 1, count: length))
        }
    }

    func testTaps() throws {
        for item in try Golden.resample().taps {
            let taps = Taps(from: item.from, to: item.to)
            for row in 0..<item.to {
                var expected = [Int: Float]()
                for (index, weight) in zip(item.index[row], item.weight[row]) where weight > 0 {
                    expected[index, default: 0] += Float(weight)
                }
                var found = [Int: Float]()
                for (offset, weight) in taps.weights[row].enumerated() where weight > 0 {
                    found[taps.first[row] + offset] = weight
                }
                XCTAssertEqual(found, expected, "\(item.from) to \(item.to), sample \(row)")
            }
        }
    }

    func testResample() throws {
        for item in try Golden.resample().resample {
            let image = FloatImage(nested: item.image)
            let result = FloatImage(resampling: image, height: item.size[0], width: item.size[1])
            XCTAssertLessThanOrEqual(result.distance(to: FloatImage(nested: item.result)), 1e-4)
            // Pixels in memory are read as the same levels, in any order of bytes.
            for order in [PixelOrder.rgba, .bgra] {
                var bitmap = Bitmap(levels: image, order: order)
                let again = bitmap.withView {
                    FloatImage(resampling: $0, height: item.size[0], width: item.size[1])
                }
                XCTAssertEqual(again, result)
            }
        }
    }

    func testSharpen() throws {
        for item in try Golden.resample().sharpen {
            let result = FloatImage(nested: item.unit).sharpened()
            XCTAssertLessThanOrEqual(result.distance(to: FloatImage(nested: item.result)), 1e-6)
        }
    }
}
